"""Loaders of config files that end the command when a file cannot be loaded.

Jupyter's own applications log an error and go on: a server would go on without the token that is set in the file.
"""

from __future__ import annotations

import os
import traceback
from pathlib import Path

from traitlets.config import Config
from traitlets.config.loader import ConfigFileNotFound, JSONFileConfigLoader, PyFileConfigLoader

from ...errors import BadOption

EXTENSIONS = (".py", ".json")


class StrictPyFileConfigLoader(PyFileConfigLoader):
    def load_config(self) -> Config:
        """Raises ConfigFileNotFound; BadOption for anything that the file's code raises."""
        try:
            return super().load_config()
        except (ConfigFileNotFound, BadOption):  # BadOption: from a file that this one loads
            raise
        except Exception as exc:
            raise BadOption(f"{self.full_filename}{_line(exc, self.full_filename)}: {_described(exc)}") from exc


class StrictJSONFileConfigLoader(JSONFileConfigLoader):
    def load_config(self) -> Config:
        """Raises ConfigFileNotFound, BadOption."""
        try:
            return super().load_config()
        except ConfigFileNotFound:
            raise
        except Exception as exc:
            raise BadOption(f"{self.full_filename}: {_described(exc)}") from exc


def check_named(config_file: str) -> None:
    """Raise BadOption when `--config` names no file.

    The extension does not count: Jupyter looks for a file of each kind.
    """
    if config_file:
        stem = os.path.splitext(config_file)[0]
        if not any(Path(stem + extension).is_file() for extension in EXTENSIONS):
            raise BadOption(f"config={config_file}: no such file with the extension {' or '.join(EXTENSIONS)}")


def _line(exc: Exception, filename: str) -> str:
    """Where in the file the error is; a SyntaxError says so itself."""
    lines = [frame.lineno for frame in traceback.extract_tb(exc.__traceback__) if frame.filename == filename]
    return f", line {lines[-1]}" if lines else ""


def _described(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc}"
