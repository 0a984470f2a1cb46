"""The files in deploy/: nothing in them opens a gateway to everybody, or gives its kernels more than they need."""

from __future__ import annotations

import ast
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ..support.cases import for_each
from ..support.programs import need

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


# --- the unit -------------------------------------------------------------------------------------


SERVICES = ("fps-kernels", "fps-kernels-keeper")


def settings(service: str = "fps-kernels") -> dict[str, list[str]]:
    """The settings of a unit's service; one may stand several times."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in (DEPLOY / f"{service}.service").read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


@for_each(
    ("name", "value"),
    [
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("ProtectProc", "invisible"),
        ("ProtectControlGroups", "yes"),
        ("ProtectKernelLogs", "yes"),
        ("ProtectKernelModules", "yes"),
        ("ProtectKernelTunables", "yes"),
        ("RestrictNamespaces", "yes"),
        ("RestrictSUIDSGID", "yes"),
        ("CapabilityBoundingSet", ""),
        ("SystemCallFilter", "@system-service"),
        ("SystemCallArchitectures", "native"),
        ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK"),
        ("UMask", "0077"),
        ("OOMPolicy", "continue"),
        ("RuntimeDirectory", "fps-kernels"),
        ("RuntimeDirectoryMode", "0700"),
        ("RuntimeDirectoryPreserve", "yes"),
        ("User", "kernels"),
    ],
)
def test_the_units_are_the_same_sandbox(name: str, value: str) -> None:
    assert [settings(service)[name] for service in SERVICES] == [[value]] * 2


def test_the_keeper_has_its_state_where_the_gateway_looks_for_it() -> None:
    [command] = settings("fps-kernels-keeper")["ExecStart"]
    [state] = re.findall(r"--state-dir (\S+)", command)
    assert f"KG_STATE_DIR={state}" in settings()["Environment"]
    assert not any("token" in str(value).lower() for value in settings("fps-kernels-keeper").values())
    # A crash of it must not end its kernels; it has no end of its own but SIGTERM.
    assert settings("fps-kernels-keeper")["KillMode"] == ["process"]
    assert "--idle-timeout-s 0" in command


def test_systemd_understands_the_units(tmp_path: Path) -> None:
    analyze = need("systemd-analyze")
    for unit in ("fps-kernels.service", "fps-kernels-keeper.service", "fps-kernels.socket"):
        # Neither the command nor the user are there.
        text = (DEPLOY / unit).read_text().replace("/opt/fps-kernels/bin/fps-kernels", "/bin/true")
        (tmp_path / unit).write_text(text)
    units = [str(path) for path in tmp_path.iterdir()]
    done = subprocess.run([analyze, "verify", *units], capture_output=True, text=True, check=False, timeout=60)
    assert [line for line in done.stderr.splitlines() if str(tmp_path) in line or "fps-kernels" in line] == []


def test_the_unit_has_a_user_and_takes_the_token_from_a_file() -> None:
    unit = settings()
    assert unit["User"] not in (["root"], ["0"])
    assert unit["LoadCredential"] == ["token:/etc/fps-kernels/token"]
    assert "KG_AUTH_TOKEN_FILE=%d/token" in unit["Environment"]
    assert not any("token" in command.lower() for command in unit["ExecStart"])
    # Compilers in kernels write code and run it.
    assert "MemoryDenyWriteExecute" not in unit


# --- the image ------------------------------------------------------------------------------------


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage of the Dockerfile, with their arguments."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found: list[list[tuple[str, str]]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append([])
        if found:
            found[-1].append((word, rest))
    return found


def test_the_sources_are_in_no_layer_of_the_image() -> None:
    build, image = stages()
    assert ("COPY", ". /src") in build
    copied = [rest for word, rest in image if word in ("COPY", "ADD")]
    assert [
        rest for rest in copied if not rest.startswith(("--from=build /opt/", "--chmod=0755 deploy/start-gateway"))
    ] == []


def test_the_image_runs_as_a_user_who_cannot_change_it() -> None:
    _, image = stages()
    words = [word for word, _ in image]
    [user] = [rest for word, rest in image if word == "USER"]
    assert user not in ("root", "0")
    assert words.index("USER") > max(number for number, word in enumerate(words) if word in ("COPY", "RUN"))
    assert "chown" not in str(image)


def test_the_image_has_a_tag_and_no_token_of_its_own() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    [base] = re.findall(r"^ARG BASE=(\S+)$", text, re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+[\w.-]+", base)
    assert all(stage[0][1].startswith("${BASE}") for stage in stages())
    assert not any("TOKEN" in rest for stage in stages() for word, rest in stage if word in ("ENV", "ARG"))
    assert ("ENTRYPOINT", '["start-gateway"]') in stages()[-1]


def test_the_build_sees_only_what_it_needs() -> None:
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert next(line for line in lines if not line.startswith("#")) == "*"
    allowed = [line[1:] for line in lines if line.startswith("!")]
    assert all((ROOT / path).exists() for path in allowed)
    assert not any(path.startswith(".") for path in allowed)


def start(home: Path, **names: str) -> subprocess.CompletedProcess[str]:
    """Run the image's entry point, with a command that only tells what it was started with."""
    command = home / "bin" / "fps-kernels"
    command.parent.mkdir(exist_ok=True)
    command.write_text('#!/bin/sh\necho "$# $1 ${KG_AUTH_TOKEN_FILE-none} ${KG_AUTH_TOKEN-none} $(umask)"\n')
    command.chmod(0o755)
    (command.parent / "python").unlink(missing_ok=True)
    (command.parent / "python").symlink_to(sys.executable)
    environ = {"HOME": str(home), "PATH": f"{command.parent}:{os.environ['PATH']}", **names}
    script = [str(DEPLOY / "start-gateway"), "an option"]
    return subprocess.run(script, env=environ, capture_output=True, text=True, check=True, umask=0o022)


@pytest.mark.parametrize("names", [{}, {"KG_AUTH_TOKEN": ""}, {"KG_AUTH_TOKEN_FILE": ""}])
def test_a_container_without_a_token_makes_one(tmp_path: Path, names: dict[str, str]) -> None:
    done = start(tmp_path, **names)
    file = tmp_path / ".local" / "share" / "fps-kernels" / "token"
    token = file.read_text().strip()
    assert len(token) >= 40
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert done.stdout == f"1 an option {file} none 0022\n"
    assert token not in done.stderr
    assert str(file) in done.stderr
    start(tmp_path, **names)
    assert file.read_text().strip() == token
    assert [path.name for path in file.parent.iterdir()] == ["token"]


def test_a_token_that_is_given_is_used(tmp_path: Path) -> None:
    assert start(tmp_path, KG_AUTH_TOKEN="mine").stdout == "1 an option none mine 0022\n"
    assert start(tmp_path, KG_AUTH_TOKEN_FILE="/a/file").stdout == "1 an option /a/file none 0022\n"
    assert not (tmp_path / ".local").exists()


# --- the build ------------------------------------------------------------------------------------


def test_no_script_of_a_dependency_runs_when_the_extension_is_built() -> None:
    commands = [
        [word.value for word in node.elts if isinstance(word, ast.Constant)]
        for node in ast.walk(ast.parse((ROOT / "hatch_build.py").read_text()))
        if isinstance(node, ast.List)
    ]
    [install] = [command for command in commands if command[:1] == ["ci"]]
    assert "--ignore-scripts" in install
