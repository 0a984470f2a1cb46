"""What users of `jupyter lab` type: the same options by Jupyter's names, and what to do in place of those that are not
here. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence
from urllib.parse import unquote

CLASSES = ("ServerApp", "LabApp", "NotebookApp", "IdentityProvider", "ExtensionApp")
"""Jupyter's classes whose options are options of the whole command."""
OPTIONS = {
    name.replace("-", "_"): f"--{name}"
    for name in (
        "allow-origin",
        "allow-origin-pat",
        "certfile",
        "client-ca",
        "ip",
        "keyfile",
        "local-hostnames",
        "notebook-dir",
        "port",
        "port-retries",
        "root-dir",
        "shutdown-no-activity-timeout",
        "sock",
        "sock-mode",
        "token",
    )
}
"""Options that are the same here, by the names that classes have for them."""
FLAGS = {"allow_remote_access": "--allow-remote-access", "trust_xheaders": "--trust-xheaders"}
OF_KERNELS = {
    "allowed_message_types": "allowed_message_types",
    "cull_busy": "cull_busy",
    "cull_connected": "cull_connected",
    "cull_idle_timeout": "cull_idle_timeout_s",
    "cull_interval": "cull_interval_s",
    "default_kernel_name": "default_kernel",
    "kernel_info_timeout": "startup_timeout_s",
}
"""Options of the managers of kernels, by the names that `--set kernels.NAME=VALUE` has for them."""
MANAGERS = ("MappingKernelManager", "AsyncMappingKernelManager", "MultiKernelManager")
CONTENTS = ("ContentsManager", "FileContentsManager", "AsyncFileContentsManager", "LargeFileManager")

DEVELOPMENT = "it is for the development of JupyterLab: use `jupyter lab`"
INSTEAD = {
    "--LabApp.collaborative": "install fps_kernels[collaboration] instead: documents are shared then",
    "--ServerApp.jpserver_extensions": "there are plugins of Jupyverse instead: --disable PLUGIN",
    "--ServerApp.password": "use --password-file; `fps-kernels password FILE` makes one",
    "--PasswordIdentityProvider.hashed_password": "use --password-file; `fps-kernels password FILE` makes one",
    "--ServerApp.terminals_enabled": "use --disable terminals",
    "--app-dir": DEVELOPMENT,
    "--autoreload": DEVELOPMENT,
    "--browser": "set BROWSER in the environment, and use --open-browser",
    "--collaborative": "install fps_kernels[collaboration] instead: documents are shared then",
    "--core-mode": DEVELOPMENT,
    "--custom-css": "it is not here: use `jupyter lab`",
    "--dev-mode": DEVELOPMENT,
    "--expose-app-in-browser": DEVELOPMENT,
    "--extensions-in-dev-mode": DEVELOPMENT,
    "--gateway-url": "kernels run on this machine here: use `jupyter lab`",
    "--help-all": "use --help, and --help-options for the options of kernels",
    "--log-level": "use --debug",
    "--no-mathjax": "it is not here: use `jupyter lab`",
    "--preferred-dir": "name the folder or a file in it as PATH",
    "--pylab": "use %matplotlib in the notebook",
    "--show-config": "see --config, and --generate-config for a file with all options",
    "--show-config-json": "see --config, and --generate-config for a file with all options",
    "--skip-dev-build": DEVELOPMENT,
    "--splice-source": DEVELOPMENT,
    "--transport": "use --set kernels.transport=ipc",
    "--watch": DEVELOPMENT,
}
"""Options of `jupyter lab` that are not here, and what there is instead."""

_OF_A_CLASS = re.compile(r"--([A-Z]\w*)\.(\w+)(?:=(.*))?", re.DOTALL)


def in_own_words(argv: Sequence[str]) -> list[str]:
    """A command line of `jupyter lab` with our names of what is the same here. All else stays as it is.

    --allow-root is left out: root may run this without being asked.
    """
    words: list[str] = []
    for at, word in enumerate(argv):
        if word == "--":
            return [*words, *argv[at:]]
        if word != "--allow-root":
            words += _own(word)
    return words


def _own(word: str) -> list[str]:
    if (match := _OF_A_CLASS.fullmatch(word)) is None:
        return [word]
    owner, name, value = match.groups()
    if owner in MANAGERS and name in OF_KERNELS and value is not None:
        return ["--set", f"kernels.{OF_KERNELS[name]}={value}"]
    if owner in CONTENTS and value is not None:
        return ["--set", f"contents.{name}={value}"]
    if owner not in CLASSES or value is None:
        return [word]
    if name == "base_url":
        path = value.strip("/")
        return ["--set", f"frontend.base_url=/{path}/", "--set", f"app.mount_path=/{unquote(path)}"] if path else []
    truth = {"true": True, "1": True, "false": False, "0": False}.get(value.lower())
    if name == "open_browser" and truth is not None:
        return ["--open-browser" if truth else "--no-browser"]
    if name in FLAGS and truth is not None:
        return [FLAGS[name]] if truth else []
    if name == "token" and not value:
        return ["--no-token"]
    return [f"{OPTIONS[name]}={value}"] if name in OPTIONS else [word]


def advice(words: Sequence[str], known: Collection[str]) -> str:
    """The end of an error about words that mean nothing, for the first of them that there is something to say of.

    known: the options, with --.
    """
    for word in words:
        name = word.partition("=")[0]
        if (instead := INSTEAD.get(name)) is not None:
            return f". {name}: {instead}"
        if _OF_A_CLASS.match(word):
            return f". {name}: Jupyter's classes are not here; see --help and --help-options"
        if close := difflib.get_close_matches(name.replace("_", "-"), known, n=1):
            return f". Do you mean {close[0]}?"
    return ""
