"""Values of environment variables that are data wherever a provisioner writes them. Pure.

Provisioners of remote kernels paste variables into lines of a shell and into the YAML of pods.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

SHELL_OR_YAML = "!\"#$&'*;<>?[\\]`{|}"
"""What quotes, expands or ends a command in a shell, and brackets, aliases, tags and comments of YAML."""
ONE_LINE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]*")
"""Values without line ends of any kind and without other control characters."""
SAFE_VALUE = re.compile(rf"[^\x00-\x1f\x7f-\x9f\u2028\u2029{re.escape(SHELL_OR_YAML)}]*")

SESSION_NAME = "JPY_SESSION_NAME"
"""The full path of the notebook, which may be called anything."""


def for_remote(environ: Mapping[str, str]) -> dict[str, str]:
    """Return variables that clients have set, as a provisioner that is not this machine's may see them.

    A notebook's name that is not safe is left out: kernels can do without, and its user cannot be asked to rename it.
    """
    return {name: value for name, value in environ.items() if name != SESSION_NAME or SAFE_VALUE.fullmatch(value)}
