"""The command `fps-kernels password`: makes the file with a password's hash."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Sequence
from pathlib import Path

from ...errors import BadOption
from .password_hash import hash_password
from .secret_file import write_private

MIN_CHARS = 8


def password_parser() -> argparse.ArgumentParser:
    """The words that the command takes."""
    parser = argparse.ArgumentParser(
        "fps-kernels password", description="Ask for a password, and write the hash that --password-file takes."
    )
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="file to write, readable for you alone (default: standard output)"
    )
    return parser


def main(argv: Sequence[str]) -> None:
    """Ask for a password, twice, and write its hash. Raises BadOption."""
    options = password_parser().parse_args(argv)
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != password:
            raise BadOption("The two passwords are not the same")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if len(password) < MIN_CHARS:
        raise BadOption(f"The password is shorter than {MIN_CHARS} characters")
    hashed = hash_password(password)
    if options.file is None:
        print(hashed)
        return
    try:
        write_private(Path(options.file), f"{hashed}\n".encode())
    except OSError as exc:
        raise BadOption(f"{options.file}: {exc.strerror}") from exc
