"""Defers an import that JupyterLab does not need to start.

jsonschema imports rfc3987_syntax, if it is installed, to check IRIs in documents whose schema asks for it. (It comes
with jsonschema's extra "format-nongpl", which jupyter_events requires.) On import rfc3987_syntax makes 39 parsers, one
for each rule of its grammar: 3.3 of the 4.1 s until the server answers, and 16 MiB. JupyterLab's schemas have no IRIs.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

NAME = "rfc3987_syntax"


class _Deferred(ModuleType):
    """A stand-in for a module, until an attribute is read or its function is called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # read by the import system, which can do without them
            raise AttributeError(name)
        return getattr(_load(self), name)


def defer_iri_parsers() -> None:
    """Import rfc3987_syntax only when an IRI is checked. Does nothing if it is not installed, or imported already.

    The checks stay the same. importlib's LazyLoader does not help: jsonschema's `from module import name` loads the
    module immediately. Only for a program of our own, as this changes what an import does.
    """
    if NAME in sys.modules or (spec := importlib.util.find_spec(NAME)) is None:
        return
    module = _Deferred(NAME)
    module.__spec__ = spec
    module.__file__ = spec.origin
    module.__path__ = spec.submodule_search_locations or []  # submodules are imported as usual

    def is_valid_syntax(term: str, value: str) -> bool:
        return bool(_load(module).is_valid_syntax(term, value))

    module.is_valid_syntax = is_valid_syntax  # type: ignore[attr-defined]  # a module takes any
    sys.modules[NAME] = module


def _load(deferred: ModuleType) -> ModuleType:
    if sys.modules.get(NAME) is deferred:
        del sys.modules[NAME]
    return importlib.import_module(NAME)
