"""The rooms of the package: who may import whom, what stays pure, and that names are told apart."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import fps_kernels

PACKAGE = Path(fps_kernels.__file__).parent

FLOORS = (
    ("descriptors", "errors", "histogram", "log_text", "options", "private_files", "process_mark", "tasks", "threads"),
    ("json_model", "ledger", "option_traits", "state_folder"),
    ("store", "websocket"),
    ("serving", "kernel_driver"),
    ("kernel_server", "keeper"),
    ("kept",),
    ("kernels",),
    ("execution",),
    ("metrics", "kernels_page"),
    ("api",),
    ("hosts.jupyverse",),
    ("hosts.asphalt", "hosts.fps", "hosts.jupyter_server", "gateway", "notebook_run"),
    ("notebook_http",),
    ("fps_main", "main", "completion"),
)
"""The rooms, from the ground up. A module imports from its own room and from those on lower floors, nothing else."""

NOT_IN_PURE_MODULES = {
    "asyncio",
    "zmq",
    "fastapi",
    "starlette",
    "uvicorn",
    "anyio",
    "socket",
    "subprocess",
    "threading",
}


def modules() -> dict[str, Path]:
    """All modules of the package, by their dotted names below it; the package itself is ""."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if "labextension" in path.parts:
            continue
        words = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(words[:-1] if words[-1] == "__init__" else words)] = path
    return found


MODULES = modules()


@dataclass
class Module:
    """What the tests ask about a module. The trees are not kept: so many nodes would slow down every other test."""

    docstring: str
    imported: list[str]  # the modules of ours that it imports, wherever it does so
    needs: list[str]  # the modules of ours that are imported with it: not in functions, nor for type checkers only
    needs_others: set[str]  # the top-level names of what is not ours and is imported with it
    classes: list[tuple[str, int, int, int]]  # names, first lines, numbers of methods and of attributes


@cache
def module(name: str) -> Module:
    tree = ast.parse(MODULES[name].read_text())
    found = Module(ast.get_docstring(tree) or "", [], [], set(), [])
    for node in statements(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            found.imported += resolved(name, node)
        elif isinstance(node, ast.ClassDef):
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            found.classes.append((node.name, first, *size(node)))
    for node in tree.body:
        if isinstance(node, ast.Import):
            found.needs_others |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            found.needs += resolved(name, node)
        elif isinstance(node, ast.ImportFrom):
            found.needs_others.add(str(node.module).partition(".")[0])
    return found


def statements(node: ast.AST) -> Iterator[ast.stmt]:
    """All statements below a node, also those within others."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
        if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield from statements(child)


def resolved(name: str, node: ast.ImportFrom) -> Iterator[str]:
    """The modules of ours that one statement of a module imports."""
    package = name.split(".") if MODULES[name].name == "__init__.py" else name.split(".")[:-1]
    base = package[: len(package) - node.level + 1]
    target = ".".join([*base, *([node.module] if node.module else [])])
    for alias in node.names:
        inner = f"{target}.{alias.name}".lstrip(".")
        yield inner if inner in MODULES else target


def room(name: str) -> str | None:
    """The room a module is in."""
    return next((one for floor in FLOORS for one in floor if f"{name}.".startswith(f"{one}.")), None)


def floor(name: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room(name) in rooms)


def test_every_module_is_in_a_room() -> None:
    assert [name for name in MODULES if room(name) is None] == ["", "hosts"]  # the package, and the folder of hosts


def test_imports_go_downwards() -> None:
    upwards = [
        f"{name} imports {target}"
        for name in MODULES
        for target in module(name).imported
        if room(target) is not None and room(target) != room(name) and floor(target) >= floor(name)
    ]
    assert upwards == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    arrows = {name: {target for target in module(name).imported if target != name} for name in MODULES}
    while leaves := {name for name, targets in arrows.items() if not targets & arrows.keys()}:
        for name in leaves:
            del arrows[name]
    circles = {name: sorted(targets & arrows.keys()) for name, targets in arrows.items()}
    assert circles == {}


def test_a_basename_stands_once() -> None:
    places = defaultdict(list)
    for path in MODULES.values():
        places[path.stem].append(str(path.relative_to(PACKAGE)))
    assert {stem: paths for stem, paths in places.items() if len(paths) > 1 and stem != "__init__"} == {}


@cache
def needed(name: str) -> frozenset[str]:
    """The top-level names of what is not ours and is imported with a module of ours, directly or by way of others."""
    ours = [one for one in module(name).needs if one in MODULES and one != name]
    return frozenset(module(name).needs_others).union(*map(needed, ours))


def test_pure_modules_do_no_io() -> None:
    pure = [name for name in MODULES if re.search(r"\bPure\b", module(name).docstring)]  # their first lines promise it
    assert len(pure) > 20
    assert {name: needed(name) & NOT_IN_PURE_MODULES for name in pure if needed(name) & NOT_IN_PURE_MODULES} == {}


MAX_LINES = 400
MAX_METHODS = 20
MAX_ATTRIBUTES = 15


def test_files_are_short() -> None:
    lengths = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def test_classes_are_small_or_say_why_not() -> None:
    large = {}
    for name in MODULES:
        lines = MODULES[name].read_text().splitlines()
        for class_name, first, methods, attributes in module(name).classes:
            excused = lines[first - 2].startswith("# Large: ")
            if (methods > MAX_METHODS or attributes > MAX_ATTRIBUTES) is not excused:
                large[f"{name}.{class_name}"] = (methods, attributes)
    assert large == {}


def size(node: ast.ClassDef) -> tuple[int, int]:
    """The number of methods of a class, and of the attributes that its __init__ sets."""
    methods = [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
    attributes = {
        target.attr
        for method in methods
        if method.name == "__init__"
        for target in ast.walk(method)
        if isinstance(target, ast.Attribute) and isinstance(target.ctx, ast.Store)
        if isinstance(target.value, ast.Name) and target.value.id == "self"
    }
    return len(methods), len(attributes)
