"""The command `fps-kernels completion`: prints a script for a shell, or names that one needs."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Sequence

from ..gateway.config.gateway_options import COMMANDS, KernelGatewayApp
from ..gateway.config.short_help import FLAGS, OPTIONS, value_name
from ..gateway.config.traits import CLASSES
from ..gateway.kernels_command import kernels_parser
from ..gateway.stop_command import stop_parser
from ..kept.keeper_command import keeper_parser
from ..notebook_run.run_parser import parser as run_parser
from ..serving.access.password_command import password_parser
from .completion_scripts import SCRIPTS
from .shell_words import ShellCommand, command_of, gateway_command

KERNELS = "kernels"
EPILOG = """\
to have it in each new shell:
  bash   echo 'eval "$(fps-kernels completion bash)"' >> ~/.bashrc
  zsh    echo 'source <(fps-kernels completion zsh)' >> ~/.zshrc     (after compinit)
  fish   fps-kernels completion fish > ~/.config/fish/completions/fps-kernels.fish
"""


def main(argv: Sequence[str]) -> None:
    """Print a script."""
    shell = completion_parser().parse_args(argv).shell
    print(kernel_names() if shell == KERNELS else SCRIPTS[shell](all_commands()), end="")


def completion_parser() -> argparse.ArgumentParser:
    """The words that the command takes."""
    parser = argparse.ArgumentParser(
        "fps-kernels completion",
        description="Print a script by which a shell completes the words of fps-kernels; or the names of kernels.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=[*SCRIPTS, KERNELS])
    return parser


def all_commands() -> list[ShellCommand]:
    """The gateway, and all commands that are installed."""
    parsers = {
        "run": run_parser,
        "kernels": kernels_parser,
        "stop": stop_parser,
        "password": password_parser,
        "completion": completion_parser,
        "keeper": keeper_parser,
    }
    with contextlib.suppress(ImportError):  # without the extra `lab`
        from ..hosts.asphalt.lab.lab_parser import parser as lab_parser

        parsers["lab"] = lab_parser
    found = [_gateway()]
    for name, make in parsers.items():
        parser = make()
        _, text = COMMANDS.get(name, ("", parser.description or ""))
        found.append(command_of(name, text.rstrip("."), parser))
    return found


def _gateway() -> ShellCommand:
    options = [(name, text, value_name(name)) for group in OPTIONS.values() for name, text in group.items()]
    traits = {
        f"{cls.__name__}.{name}": " ".join(str(trait.help).split())
        for cls in (KernelGatewayApp, *CLASSES)
        for name, trait in cls.class_own_traits(config=True).items()
    }
    return gateway_command(options, FLAGS, traits)


def kernel_names() -> str:
    """The names of kernelspecs, a line each."""
    from ..kernel_driver.kernelspec import Kernelspecs
    from ..kernel_driver.spec_classes import SpecClasses
    from ..options import KernelsOptions

    async def names() -> list[str]:
        specs = Kernelspecs("python3", "/", [], SpecClasses.of(KernelsOptions()))
        try:
            await specs.open()
            return list((await specs.list_all())["kernelspecs"])
        finally:
            await specs.close()

    return "".join(f"{name}\n" for name in sorted(asyncio.run(names())))
