"""The parameters of a notebook, as the command line gives them, and the cell that they come to stand in."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadOption
from .file_notebook import FileNotebook, tags_of
from .notebook_json import Cell
from .parameter_code import ParameterLanguage

if TYPE_CHECKING:
    from ruamel.yaml import YAML

PARAMETERS, INJECTED = "parameters", "injected-parameters"
"""The tags of the cell with the defaults, and of the cell that is put after it, as papermill has them."""

MAX_FILE_BYTES = 64 * 1024 * 1024


def read_parameters(files: Sequence[str], typed: Sequence[tuple[str, str, bool]]) -> dict[str, Any]:
    """All parameters: those of files, and over them those of the command line; of two of one name the last one counts.

    typed: names, texts, and whether each is YAML; otherwise it is a string as it is.
    Raises BadOption.
    """
    parameters: dict[str, Any] = {}
    for name in files:
        parameters |= _read_file(name)
    for name, text, is_yaml in typed:
        parameters[name] = _typed(name, text) if is_yaml else text
    return parameters


def _typed(name: str, text: str) -> Any:
    if text == "None":  # as papermill takes it, and people who think in Python
        return None
    from ruamel.yaml.error import YAMLError

    try:
        return _plain(_yaml().load(text))
    except (YAMLError, ValueError, RecursionError) as exc:
        raise BadOption(f"-p {name}: not YAML ({_first_line(exc)}); -r takes a text as it is") from exc


def _read_file(path: str) -> dict[str, Any]:
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise BadOption(f"-f {path}: longer than {MAX_FILE_BYTES} bytes")
        text = data.decode("utf-8-sig")
    except OSError as exc:
        raise BadOption(f"-f {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise BadOption(f"-f {path}: not UTF-8") from exc
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        from ruamel.yaml.error import YAMLError

        try:
            value = _plain(_yaml().load(text))
        except (YAMLError, ValueError, RecursionError) as exc:
            raise BadOption(f"-f {path}: neither JSON nor YAML ({_first_line(exc)})") from exc
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise BadOption(f"-f {path}: it is not a mapping of names to values")
    return value


def _yaml() -> YAML:
    """A parser of YAML 1.2, for which a date is a text: most languages have no other."""
    try:
        from ruamel.yaml import YAML
        from ruamel.yaml.constructor import SafeConstructor
    except ModuleNotFoundError as exc:
        raise BadOption("-p and -f need ruamel.yaml: install fps_kernels[gateway], or use -r for strings") from exc

    class Constructor(SafeConstructor):
        pass

    Constructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = Constructor
    return yaml


def _plain(value: Any) -> Any:
    """A value of YAML as JSON could hold it, besides NaN and infinity. Raises ValueError for any other."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else value
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    raise ValueError(f"a {type(value).__name__} is no parameter")


def _first_line(exc: Exception) -> str:
    return next(iter(str(exc).strip().splitlines()), type(exc).__name__)


def defaults_cell(notebook: FileNotebook) -> int | None:
    """The position of the cell with the parameters' defaults; None if there is none."""
    return _tagged(notebook, PARAMETERS)


def _tagged(notebook: FileNotebook, tag: str) -> int | None:
    return next((at for at, _, cell in notebook.code_cells if tag in tags_of(cell)), None)


def inject(notebook: FileNotebook, parameters: dict[str, Any], language: ParameterLanguage) -> None:
    """Put the parameters into a cell of their own, in the place of an earlier one. Raises CannotExpress."""
    at = defaults_cell(notebook)
    code = language.code(parameters, "" if at is None else notebook.cells[at]["source"])
    cell: Cell = {
        "cell_type": "code",
        "metadata": {"tags": [INJECTED]},
        "source": code.rstrip("\n"),
        "outputs": [],
        "execution_count": None,
    }
    if notebook.document["nbformat_minor"] >= 5:
        cell["id"] = uuid.uuid4().hex[:8]
    before = _tagged(notebook, INJECTED)
    if before is not None:
        if "id" in notebook.cells[before]:
            cell["id"] = notebook.cells[before]["id"]
        notebook.cells[before] = cell
    else:
        notebook.cells.insert(0 if at is None else at + 1, cell)
    notebook.index()
