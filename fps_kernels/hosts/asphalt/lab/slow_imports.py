"""What JupyterLab imports at its start and does not need for it.

jsonschema imports rfc3987_syntax, if that is installed (by jsonschema's extra "format-nongpl", which jupyter_events
asks for), to check IRIs in documents whose schema says that they are. rfc3987_syntax makes 39 parsers at its import,
one for each rule of its grammar: 3.3 of the 4.1 s until the server answers, and 16 MiB. No schema of it has IRIs.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

NAME = "rfc3987_syntax"


class _Deferred(ModuleType):
    """Stands for a module until something of it is asked for, or its function is called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system asks for those, and can do without
            raise AttributeError(name)
        return getattr(_load(self), name)


def defer_iri_parsers() -> None:
    """Have rfc3987_syntax imported when an IRI is checked. Does nothing when it is not there, or imported already.

    Checks are the same. Not importlib's LazyLoader: `from module import name`, as jsonschema does it, ends its wait.
    Only for a program that is ours alone, as it changes what an import does.
    """
    if NAME in sys.modules or (spec := importlib.util.find_spec(NAME)) is None:
        return
    module = _Deferred(NAME)
    module.__spec__ = spec
    module.__file__ = spec.origin
    module.__path__ = spec.submodule_search_locations or []  # submodules are imported as ever

    def is_valid_syntax(term: str, value: str) -> bool:
        return bool(_load(module).is_valid_syntax(term, value))

    module.is_valid_syntax = is_valid_syntax  # type: ignore[attr-defined]  # a module takes any
    sys.modules[NAME] = module


def _load(deferred: ModuleType) -> ModuleType:
    if sys.modules.get(NAME) is deferred:
        del sys.modules[NAME]
    return importlib.import_module(NAME)
