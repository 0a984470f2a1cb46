"""A reader who does what a page says, from its first block of commands to its last, in a folder that is thrown away."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import page_programs
from .pages import ROOT, Block
from .ports import free_port

TIMEOUT_S = 300
PORT = re.compile(r"\b(888\d|9090)\b")
"""The ports of the pages' servers. The tests' are free ones."""
COPIED = ("docs", "deploy", "pyproject.toml", "README.md")
"""What commands read of a clone."""


@dataclass(frozen=True, slots=True)
class Command:
    """block: where it stands. expected: what the page shows beneath it, or None if it shows nothing."""

    block: Block
    text: str
    expected: str | None = None


class PageSession:
    """One shell, in a folder that has what a clone has. Servers run in the background, see page_programs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clone = folder / "clone"
        self._ports: dict[str, str] = {}
        self._clone.mkdir()
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, self._clone / name)
            else:
                shutil.copy2(source, self._clone / name)
        for path in (self._clone / "docs" / "examples").iterdir():
            if path.suffix in (".py", ".yml"):
                path.write_text(self._with_ports(path.read_text()))
        for name in ("bin", "servers", "run", "config"):
            (folder / name).mkdir(mode=0o700)
        for name in page_programs.NAMES:
            program = folder / "bin" / name
            program.write_text(f"#!{sys.executable}\n{Path(page_programs.__file__).read_text()}")
            program.chmod(0o755)
        # To curl an error of HTTP is none. Here it is one, unless a page shows what is printed.
        (folder / ".curlrc").write_text("fail-with-body\n")
        (folder / "config" / ".curlrc").touch()
        page_programs.make_venv(self._clone / ".venv", folder)  # which other pages have made

    def _with_ports(self, text: str) -> str:
        return PORT.sub(lambda found: self._port(found[0]), text)

    def _port(self, number: str) -> str:
        return self._ports.setdefault(number, str(free_port()))

    def run(self, blocks: list[Block]) -> None:
        """Run the blocks in one shell. Fails if one does, or if what it prints is not what is beneath it."""
        commands = [command for block in blocks for command in commands_of(block)]
        mark = uuid.uuid4().hex
        lines = ["set -e -o pipefail"]
        for number, command in enumerate(commands):
            text = self._with_ports(command.text)
            # Where a page shows what a command prints, that decides, as it may be an error.
            shown = f"export CURL_HOME={self._folder / 'config'}\n{{ {text}\n}} 2>&1 || true\nunset CURL_HOME"
            lines += [f"printf '\\n{mark} {number}\\n'", shown if command.expected is not None else text]
        lines.append(f"printf '\\n{mark} {len(commands)}\\n'")
        script = self._folder / "script"
        script.write_text("\n".join(lines) + "\n")
        with (self._folder / "errors").open("wb") as errors:
            try:
                done = subprocess.run(
                    ["bash", str(script)],
                    cwd=self._clone,
                    env=self._environ(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    timeout=TIMEOUT_S,
                    check=False,
                )
            finally:
                self._end()
        parts = re.split(rf"\n{mark} \d+\n", done.stdout.decode(errors="replace"))[1:]
        if done.returncode:
            failed = commands[len(parts) - 1]
            said = (self._folder / "errors").read_text(errors="replace")
            raise AssertionError(f"{failed.block}: exit code {done.returncode}\n{failed.text}\n{parts[-1]}\n{said}")
        assert len(parts) == len(commands) + 1
        for command, printed in zip(commands, parts, strict=False):
            if command.expected is not None:
                expected = self._with_ports(command.expected)
                assert fits(expected, printed), (
                    f"{command.block}: {command.text}\nprints\n{printed}\nand not\n{expected}"
                )

    def _environ(self) -> Mapping[str, str]:
        names = ("JUPYTER", "KG_", "FPS_KERNELS", "PYTHON", "VIRTUAL_ENV", "XDG_", "PAGE_")
        environ = {name: value for name, value in os.environ.items() if not name.startswith(names)}
        config = self._folder / "config"
        # Tests may run as root, and where there is a browser.
        (config / "jupyter_server_config.json").write_text('{"ServerApp": {"allow_root": true, "open_browser": false}}')
        return environ | {
            "HOME": str(self._folder),
            "JUPYTER_CONFIG_DIR": str(config),
            "NO_PROXY": "*",
            "PAGE_COMMANDS": str(Path(sys.executable).parent),
            "PAGE_PATH": os.environ["PATH"],
            "PAGE_PORT_8888": self._port("8888"),
            "PAGE_PORT_9090": self._port("9090"),
            "PAGE_ROOT": str(ROOT),
            "PAGE_SANDBOX": str(self._folder),
            "PATH": f"{self._folder / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "XDG_RUNTIME_DIR": str(self._folder / "run"),
        }

    def _end(self) -> None:
        """End what was started: servers, and a keeper with its kernels, which the page may not have come to end."""
        for path in (self._folder / "servers").iterdir():
            if path.suffix != ".log":
                page_programs.end(path)
        if (self._folder / "run" / "fps-kernels").exists():
            command = [str(Path(sys.executable).parent / "fps-kernels"), "keeper", "stop"]
            subprocess.run(command, env=self._environ(), capture_output=True, timeout=60, check=False)


def commands_of(block: Block) -> list[Command]:
    """The commands of a block: those of a console have what they print beneath them."""
    match block.language:
        case "bash":
            return [Command(block, block.text)]
        case "python":
            return [Command(block, f"python3 - <<'END OF THE BLOCK'\n{block.text}END OF THE BLOCK")]
        case "console":
            before, *parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
            assert not before, f"{block}: an output without a command: {before}"
            split = [re.match(r"((?:[^\n]*\\\n)*[^\n]*\n)(.*)", part, re.DOTALL) for part in parts]
            return [Command(block, found[1], found[2] or None) for found in split if found is not None]
    raise AssertionError(f"{block}: nothing runs {block.language}")


def fits(expected: str, printed: str) -> bool:
    """Whether what was printed is what a page shows, where `…` stands for anything."""
    pattern = ".*".join(map(re.escape, expected.strip().split("…")))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None
