"""Values of environment variables that are data wherever a provisioner writes them. Pure.

Provisioners of remote kernels paste variables into lines of a shell and into the YAML of pods.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from string import Template

SHELL_OR_YAML = "!\"#$&'*;<>?[\\]`{|}"
"""What quotes, expands or ends a command in a shell, and brackets, aliases, tags and comments of YAML."""
ONE_LINE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]*")
"""Values without line ends of any kind and without other control characters."""
SAFE_VALUE = re.compile(rf"[^\x00-\x1f\x7f-\x9f\u2028\u2029{re.escape(SHELL_OR_YAML)}]*")

SESSION_NAME = "JPY_SESSION_NAME"
"""The full path of the notebook, which may be called anything."""


def variables_in(values: Iterable[object]) -> set[str]:
    """The names of the variables that a kernelspec's env is made from, as in `${HOME}/bin`."""
    return {name for value in values if isinstance(value, str) for name in Template(value).get_identifiers()}


def overriding(
    requested: Mapping[str, str], environ: Mapping[str, str], spec_env: Mapping[str, object]
) -> dict[str, str]:
    """Return the requested variables that have yet to be set when a provisioner has prepared the environment.

    They were there when it did, and it may have had its reasons to change them. Only those are set again over which it
    put what the kernelspec says; unless that is made from them, as in `PATH: /opt/bin:${PATH}`.

    environ: what the provisioner has made of them.
    spec_env: the `env` of the kernelspec.
    """
    return {
        name: value
        for name, value in requested.items()
        if name not in environ or (name in spec_env and name not in variables_in([spec_env[name]]))
    }


def for_remote(environ: Mapping[str, str]) -> dict[str, str]:
    """Return variables that clients have set, as a provisioner that is not this machine's may see them.

    A notebook's name that is not safe is left out: kernels can do without, and its user cannot be asked to rename it.
    """
    return {name: value for name, value in environ.items() if name != SESSION_NAME or SAFE_VALUE.fullmatch(value)}
