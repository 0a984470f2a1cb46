"""Connection files: what is taken, and what each wrong one is told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from fps_kernels.kernel_driver.connection_file import CHANNEL_NAMES, MAX_FILE_BYTES, ConnectionInfo, InvalidConnection

from ..support.cases import for_each

INFO: dict[str, Any] = {
    "shell_port": 50001,
    "iopub_port": 50002,
    "stdin_port": 50003,
    "control_port": 50004,
    "hb_port": 50005,
    "ip": "127.0.0.1",
    "key": "4f1f8a6a-secret",
    "transport": "tcp",
    "signature_scheme": "hmac-sha256",
    "kernel_name": "tiny",
}


def refused(info: dict[str, Any]) -> str:
    with pytest.raises(InvalidConnection) as caught:
        ConnectionInfo.from_dict(info)
    return caught.value.message


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in INFO.items() if key != name}


def test_all_fields_are_taken_over() -> None:
    info = ConnectionInfo.from_dict(INFO)
    assert (info.transport, info.ip, info.key) == ("tcp", "127.0.0.1", b"4f1f8a6a-secret")
    assert (info.signature_scheme, info.kernel_name) == ("hmac-sha256", "tiny")
    assert info.ports == {"shell": 50001, "iopub": 50002, "stdin": 50003, "control": 50004, "hb": 50005}
    assert info.curve_publickey is info.curve_secretkey is None


def test_defaults() -> None:
    info = ConnectionInfo.from_dict({key: value for key, value in INFO.items() if key == "ip" or key.endswith("_port")})
    assert (info.transport, info.key, info.signature_scheme, info.kernel_name) == ("tcp", b"", "hmac-sha256", "")


def test_a_key_as_bytes_is_what_provisioners_give() -> None:
    assert ConnectionInfo.from_dict(INFO | {"key": b"bytes"}).key == b"bytes"


def test_unknown_fields_are_ignored() -> None:
    assert ConnectionInfo.from_dict(INFO | {"jupyter_session": "x", "pid": 1}) == ConnectionInfo.from_dict(INFO)


@for_each("port", [None, 0, -1, 65_536, 10**30, "50001", 50001.0, True, [], float("nan")])
def test_a_wrong_port_is_named(port: Any) -> None:
    for channel in CHANNEL_NAMES:
        assert refused(INFO | {f"{channel}_port": port}) == f"{channel}_port is not a port"


@for_each("channel", CHANNEL_NAMES)
def test_a_missing_port_is_named(channel: str) -> None:
    assert refused(without(f"{channel}_port")) == f"{channel}_port is not a port"


@for_each(
    ("name", "value"),
    [
        ("transport", "udp"),
        ("transport", None),
        ("transport", ["tcp"]),
        ("ip", None),
        ("ip", ""),
        ("ip", 5),
        ("ip", "\ud800"),
        ("ip", "a\0b"),
        ("key", 5),
        ("key", ["k"]),
        ("key", {}),
        ("key", "\ud800"),
        ("signature_scheme", "md5"),
        ("signature_scheme", "hmac-nonsense"),
        ("signature_scheme", "hmac-shake_128"),
        ("signature_scheme", None),
        ("signature_scheme", 5),
        ("signature_scheme", ["hmac-sha256"]),
        ("curve_publickey", 5),
        ("curve_secretkey", []),
        ("curve_publickey", "\ud800"),
        ("curve_publickey", "too short"),
        ("curve_secretkey", "x" * 41),
        ("curve_secretkey", '"' * 40),
    ],
)
def test_a_wrong_field_is_named(name: str, value: Any) -> None:
    keys = dict(zip(("curve_publickey", "curve_secretkey"), zmq.curve_keypair(), strict=True))
    assert refused(INFO | (keys if name in keys else {}) | {name: value}).startswith(name)


@pytest.mark.parametrize("name", ["curve_publickey", "curve_secretkey"])
def test_half_a_key_pair_is_refused_rather_than_not_encrypted(name: str) -> None:
    other = "curve_secretkey" if name == "curve_publickey" else "curve_publickey"
    assert refused(INFO | {name: zmq.curve_keypair()[0].decode()}).startswith(other)


@pytest.mark.parametrize("as_text", [True, False])
def test_curve_keys_become_bytes(as_text: bool) -> None:
    public, secret = zmq.curve_keypair()
    keys = {"curve_publickey": public, "curve_secretkey": secret}
    info = ConnectionInfo.from_dict(INFO | ({name: key.decode() for name, key in keys.items()} if as_text else keys))
    assert (info.curve_publickey, info.curve_secretkey) == (public, secret)


@pytest.mark.parametrize("ip", ["0.0.0.0", "*"])
def test_a_kernel_that_listens_everywhere_is_found_here(ip: str) -> None:
    assert ConnectionInfo.from_dict(INFO | {"ip": ip}).url("shell") == "tcp://127.0.0.1:50001"


def test_urls() -> None:
    assert ConnectionInfo.from_dict(INFO).url("iopub") == "tcp://127.0.0.1:50002"
    ipc = ConnectionInfo.from_dict(INFO | {"transport": "ipc", "ip": "/run/kernel", "shell_port": 1})
    assert ipc.url("shell") == "ipc:///run/kernel-1"


def test_keys_are_not_shown() -> None:
    public, secret = zmq.curve_keypair()
    shown = repr(ConnectionInfo.from_dict(INFO | {"curve_publickey": public, "curve_secretkey": secret}))
    assert "secret" not in shown
    assert secret.decode() not in shown
    assert public.decode() not in shown


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)) | st.binary(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


@given(st.dictionaries(st.sampled_from([*INFO, "curve_publickey", "curve_secretkey"]), values, max_size=3))
def test_any_values_are_taken_or_refused(changes: dict[str, Any]) -> None:
    try:
        ConnectionInfo.from_dict(INFO | changes).signer()
    except InvalidConnection as exc:
        message = exc.message
    else:
        return
    assert message.split()[0] in {*INFO, "curve_publickey", "curve_secretkey"}


# --- files --------------------------------------------------------------------------------------


def refused_file(path: Path) -> str:
    with pytest.raises(InvalidConnection) as caught:
        ConnectionInfo.from_file(path)
    return caught.value.message


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "kernel.json"
    path.write_text(json.dumps(INFO))
    assert ConnectionInfo.from_file(path) == ConnectionInfo.from_dict(INFO)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        json.dumps(INFO).encode()[:-1],
        b"not json",
        b"\xff\xfe\xfd",
        b"[" * 60_000,
        b'{"shell_port": %b}' % (b"9" * 5000),
    ],
)
def test_a_file_that_is_half_written_or_not_json(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "kernel.json"
    path.write_bytes(content)
    assert refused_file(path) == "is not valid JSON"


@pytest.mark.parametrize("content", ["[]", "null", "5", '"text"'])
def test_a_file_of_other_json(tmp_path: Path, content: str) -> None:
    path = tmp_path / "kernel.json"
    path.write_text(content)
    assert refused_file(path) == "is not a JSON object"


def test_a_file_with_a_wrong_field_names_it(tmp_path: Path) -> None:
    path = tmp_path / "kernel.json"
    path.write_text(json.dumps(INFO | {"control_port": "x"}))
    assert refused_file(path) == "control_port is not a port"


def test_a_file_that_is_just_small_enough(tmp_path: Path) -> None:
    path = tmp_path / "kernel.json"
    text = json.dumps(INFO)
    path.write_text(text + " " * (MAX_FILE_BYTES - len(text)))
    assert ConnectionInfo.from_file(path).key == b"4f1f8a6a-secret"


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "kernel.json"
    with path.open("w") as file:
        file.write(json.dumps(INFO))
        file.truncate(1 << 40)  # a sparse file: reading it all would not end
    assert refused_file(path) == f"is larger than {MAX_FILE_BYTES} bytes"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert refused_file(tmp_path / "kernel.json").startswith("cannot be read: ")


def test_a_folder(tmp_path: Path) -> None:
    assert refused_file(tmp_path) == "is not a regular file"


def test_a_fifo_that_nobody_writes_to_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "kernel.json"
    os.mkfifo(path)
    assert refused_file(path) == "is not a regular file"
