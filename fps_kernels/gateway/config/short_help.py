"""The help of `fps-kernels`: its commands, and a line for each option that has a name of its own. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

OPTIONS = {
    "what is served": {
        "api": "personality, such as notebook-http",
        "seed_uri": "notebook whose cells run first on each kernel of its kernelspec",
    },
    "where": {
        "ip": "address or name of a host to listen on; empty: all addresses",
        "port": "port to listen on; 0: a free one",
        "port_retries": "how many of the next ports to try if it is taken",
        "sock": "Unix socket to listen on, instead of an address and a port",
        "sock-mode": "permissions of the Unix socket's file",
        "certfile": "TLS certificate, PEM: only https is served then",
        "keyfile": "its private key, PEM; not needed if it is in the same file",
        "client-ca": "authority, PEM, from which clients need a certificate",
    },
    "who may come in": {
        "token": "token to ask for; better not here, where others can read it",
    },
    "the command itself": {
        "config": "configuration file; also in Jupyter's folder for configuration",
        "log-level": "DEBUG, INFO, WARN, ERROR or CRITICAL, or a number",
    },
}
"""The options with a value, by what they are for."""
FLAGS = {
    "generate-config": "write a configuration file with all options, and exit",
    "show-config": "show the options that are set, and exit",
    "show-config-json": "the same, as JSON",
    "debug": "log debug messages",
    "y": "answer yes to all questions",
    "version": "show the version, and exit",
    "help": "show this help, and exit",
    "help-all": "show all options, which are written as --CLASS.NAME=VALUE, and exit",
}
EXAMPLES = """\
examples:
  fps-kernels --port=0                                           kernels over REST and WebSocket
  fps-kernels --KernelGatewayApp.auth_token_file=token --ip=     the same for other machines, with a token
  fps-kernels --api=notebook-http --seed_uri=a.ipynb             a notebook as an HTTP API
  fps-kernels lab                                                JupyterLab
  fps-kernels run a.ipynb -p day 3                               a notebook, executed with a parameter"""
COLUMN = 28


def short_help(description: str, commands: Mapping[str, tuple[str, str]], traits: Mapping[str, Any]) -> Iterator[str]:
    """The lines of the help. traits: the option that each name of OPTIONS is."""
    yield "usage: fps-kernels [OPTIONS]"
    yield "       fps-kernels COMMAND [OPTIONS]"
    yield ""
    yield description
    yield ""
    yield "commands, each with a --help of its own:"
    yield from (_line(name, text.rstrip(".")) for name, (_, text) in commands.items())
    for group, options in OPTIONS.items():
        yield ""
        yield f"{group}:"
        for name, text in options.items():
            yield _line(f"--{name}={value_name(name)}", f"{text}{_notes(traits[name])}")
    yield from (_line(f"--{name}" if len(name) > 1 else f"-{name}", text) for name, text in FLAGS.items())
    yield ""
    yield EXAMPLES


def _line(name: str, text: str) -> str:
    return f"  {name:{COLUMN - 2}}{text}"


def value_name(name: str) -> str:
    """What an option takes, by a word."""
    words = {"ip": "ADDRESS", "port": "PORT", "port_retries": "NUMBER", "api": "NAME", "seed_uri": "NOTEBOOK"}
    words |= {"sock": "PATH", "sock-mode": "MODE", "token": "TOKEN", "log-level": "LEVEL"}
    return words.get(name, "FILE")


def _notes(trait: Any) -> str:
    """The default and the variable of an option, if it has them."""
    default, variable = trait.default_value, trait.metadata.get("env")
    notes = [] if default in (None, "") else [f"default: {default}"]
    return f" ({'; '.join([*notes, variable] if variable else notes)})" if notes or variable else ""
