"""Endpoints from a Swagger document in a markdown cell; code cells are annotated with its operations."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .cells import DEFAULT_COMMENT_PREFIX, Cell, comment_prefix_of, joined, read_cells, streams
from .endpoints import VERBS, Endpoint, EndpointTable, check_path, doubts, parameters_of, unreachable
from .notebook_error import NotebookError

_FENCED = re.compile(r"^ {0,3}(`{3,}|~{3,})[^\n]*\n(.*?)(?:^ {0,3}\1|\Z)", re.MULTILINE | re.DOTALL)
_NO_OPERATIONS = {"parameters", "summary", "description", "servers"}
"""Keys that a path may have besides verbs. A $ref to another file is not followed."""


def parse(
    cells: Sequence[Mapping[str, Any]],
    language: str = "",
    comment_prefix: Mapping[str | None, str] = DEFAULT_COMMENT_PREFIX,
) -> EndpointTable:
    """The operations of the notebook's Swagger document that have cells; code cells without an annotation are seeds.

    A cell whose operation is not declared never runs. basePath has no effect.
    For the arguments see `annotations.parse`.
    Raises NotebookError when there is no document, no endpoint, or one that cannot be served.
    """
    prefix = comment_prefix_of(language, comment_prefix)
    all_cells = read_cells(cells)
    warnings: list[str] = []
    document, number = _document(all_cells, warnings)
    answers, infos, seeds = _by_operation(all_cells, prefix, warnings)
    endpoints: dict[tuple[str, str], Endpoint] = {}
    declared: set[str] = set()
    for operation in _operations(document, number, warnings):
        name, path = operation.name, operation.path
        if name in declared:
            warnings.append(f"cell {number}: operationId {name!r} is declared more than once")
        declared.add(name)
        if name not in answers:
            warnings.append(f"cell {number}: operationId {name!r} is declared, but no cell has it")
        elif (path, operation.verb) in endpoints:
            warnings.append(f"cell {number}: {operation.verb} {path} is declared more than once; {name!r} is not used")
        else:
            parts, info = answers[name], infos.get(name)
            endpoints[path, operation.verb] = Endpoint(
                path,
                operation.verb,
                joined(parts),
                joined(info) if info else None,
                streams(parts, warnings),
                tuple(cell.number for cell in parts),
            )
    for name, parts in (answers | infos).items():
        if name not in declared:
            warnings.append(f"cell {parts[0].number}: operationId {name!r} is not declared, so the cell never runs")
        elif name not in answers:
            warnings.append(f"cell {parts[0].number}: ResponseInfo for operationId {name!r}, which no cell answers")
    if not endpoints:
        reason = f"no cell has an annotation such as '{prefix} operationId: NAME' with a declared operation"
        raise NotebookError("; ".join([reason, *warnings]))
    paths = dict.fromkeys(path for path, _ in endpoints)
    warnings += [f"cell {number}: {doubt}" for path in paths for doubt in doubts(path)]
    warnings += [
        f"cell {number}: {path} is never reached: {winner} gets its requests" for path, winner in unreachable(paths)
    ]
    return EndpointTable(tuple(endpoints.values()), tuple(seeds), tuple(dict.fromkeys(warnings)), document)


@dataclass(frozen=True, slots=True)
class _Operation:
    """An operation of the Swagger document. name: its operationId."""

    name: str
    path: str
    verb: str


def _document(cells: Sequence[Cell], warnings: list[str]) -> tuple[dict[str, Any], int]:
    """The Swagger document, and the number of its cell. Raises NotebookError.

    Of several documents, a later one replaces the keys that it shares with the earlier ones, as in Kernel Gateway.
    """
    document: dict[str, Any] = {}
    number = -1
    broken: list[tuple[str, int]] = []
    for cell in cells:
        if cell.kind != "markdown":
            continue
        # Kernel Gateway also takes JSON without a fence.
        for text in [found[2] for found in _FENCED.finditer(cell.source)] or [cell.source]:
            if '"swagger"' not in text:
                continue
            try:
                found = json.loads(text)
            except (ValueError, RecursionError) as exc:
                broken.append((f"its Swagger document is not JSON: {exc}", cell.number))
                continue
            if not isinstance(found, dict) or "swagger" not in found:
                continue
            if document:
                warnings.append(f"cell {cell.number}: a second Swagger document, besides the one in cell {number}")
            document |= found
            number = cell.number
    if not document:
        if broken:
            raise NotebookError(*broken[0])
        raise NotebookError("no markdown cell has a fenced JSON block with 'swagger'")
    warnings += [f"cell {at}: {reason}" for reason, at in broken]
    if document.get("basePath") not in (None, "", "/"):
        warnings.append(f"cell {number}: basePath {document['basePath']!r} has no effect: set the option base_url")
    return document, number


def _by_operation(
    cells: Sequence[Cell], prefix: str, warnings: list[str]
) -> tuple[dict[str, list[Cell]], dict[str, list[Cell]], list[str]]:
    """The cells of each operation, those of its ResponseInfo, and the sources of all other code cells."""
    comment = re.escape(prefix)
    annotation = re.compile(rf"{comment}\s*(ResponseInfo\s+)?operationId:[^\S\n]*(.*)")
    answers: dict[str, list[Cell]] = {}
    infos: dict[str, list[Cell]] = {}
    seeds: list[str] = []
    for cell in cells:
        if cell.kind != "code":
            continue
        found = annotation.match(cell.source)
        if found is None:
            seeds.append(cell.source)
        elif name := found[2].strip():
            (infos if found[1] else answers).setdefault(name, []).append(cell)
        else:
            warnings.append(f"cell {cell.number}: operationId is not followed by a name, so the cell never runs")
    return answers, infos, seeds


def _operations(document: Mapping[str, Any], number: int, warnings: list[str]) -> Iterator[_Operation]:
    """The operations that have an operationId, in the order of the document. Raises NotebookError."""
    paths = _object(document.get("paths"), "paths", number)
    for template, item in paths.items():
        if template.startswith("x-"):
            continue
        for key, operation in _object(item, f"path {template!r}", number).items():
            where = f"{key.upper()} {template}"
            if key.upper() not in VERBS:
                if key not in _NO_OPERATIONS and not key.startswith("x-"):
                    warnings.append(f"cell {number}: {where}: {key!r} is not served")
                continue
            name = _object(operation, where, number).get("operationId")
            if name is None:
                warnings.append(f"cell {number}: {where} has no operationId, so no cell can answer it")
                continue
            parameters = [*_list(item.get("parameters")), *_list(operation.get("parameters"))]
            names = list(_path_parameters(document, parameters, f"cell {number}: {where}", warnings))
            try:
                path = _path(template, names)
                check_path(path)
            except ValueError as exc:
                raise NotebookError(str(exc), number) from None
            yield _Operation(str(name).strip(), path, key.upper())


def _path_parameters(
    document: Mapping[str, Any], parameters: Sequence[Any], where: str, warnings: list[str]
) -> Iterator[str]:
    """The names of the parameters that are declared `in: path`, directly or by a reference within the document."""
    for declared in parameters:
        parameter = declared
        if isinstance(declared, dict) and "$ref" in declared:
            parameter = _resolved(document, str(declared["$ref"]))
        if not isinstance(parameter, dict) or not isinstance(parameter.get("name"), str) or "in" not in parameter:
            warnings.append(f"{where}: the parameter {json.dumps(declared)} needs a name and an 'in'")
        elif parameter["in"] == "path":
            yield parameter["name"]


def _path(template: str, names: Sequence[str]) -> str:
    """A template with {id} as :id, and with the parameters that it lacks appended. Raises ValueError."""
    segments = []
    for segment in template.split("/"):
        if found := re.fullmatch(r"{([^{}]*)}", segment):
            segments.append(f":{found[1]}")
        elif "{" in segment:
            raise ValueError(f"{segment!r} in {template!r}: a parameter is a whole segment")
        else:
            segments.append(segment)
    path = "/".join(segments)
    lacking = dict.fromkeys(name for name in names if name not in parameters_of(path))
    if lacking:
        return "/".join([path.rstrip("/"), *(f":{name}" for name in lacking)])
    return path or "/"


def _resolved(document: Mapping[str, Any], reference: str) -> Any:
    """The target of a reference such as #/parameters/id; None if there is none."""
    value: Any = document
    for key in reference.removeprefix("#/").split("/"):
        value = value.get(key.replace("~1", "/").replace("~0", "~")) if isinstance(value, dict) else None
    return value


def _object(value: Any, what: str, number: int) -> Mapping[str, Any]:
    """A JSON object of the Swagger document. what: its name for the error. Raises NotebookError."""
    if not isinstance(value, dict):
        raise NotebookError(f"in the Swagger document, {what} is not a JSON object", number)
    return value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
