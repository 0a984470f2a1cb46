"""Where a kernel runs, and with which environment variables."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fps_kernels.errors import BadOption
from fps_kernels.kernel_driver.env_values import for_remote, overriding, variables_in
from fps_kernels.kernels.launch_environment import (
    MAX_VARIABLES,
    SECRETS,
    UnsafeEnvironment,
    UnsafeVariable,
    check_environment,
    compile_pattern,
    request_environment,
    server_environment,
    session_environment,
    working_directory,
)
from fps_kernels.serving.service_variables import is_of_service, service_warnings

from ..support.cases import for_each


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A contents root with folders and a notebook, and something beside it that is not for kernels."""
    root = tmp_path / "root"
    (root / "folder" / "inner").mkdir(parents=True)
    (root / "folder" / "a.ipynb").touch()
    (tmp_path / "outside" / "deep").mkdir(parents=True)
    return root


@for_each(
    ("path", "expected"),
    [
        ("", "."),
        ("/", "."),
        ("a.ipynb", "."),
        ("folder", "folder"),
        ("/folder/", "folder"),
        ("folder/a.ipynb", "folder"),
        ("/folder/new.ipynb", "folder"),
        ("folder/inner/x/y/z.ipynb", "folder/inner"),
        ("missing/x/y.ipynb", "."),
        ("folder/a.ipynb/x", "folder"),
        ("folder/../folder/inner", "folder/inner"),
        ("folder/./inner", "folder/inner"),
        ("folder//inner", "folder/inner"),
    ],
)
def test_the_folder_of_a_notebook_or_the_nearest_one(root: Path, path: str, expected: str) -> None:
    assert working_directory(root, path) == (root / expected).resolve()


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../outside",
        "../outside/deep/x.ipynb",
        "folder/../../outside",
        "folder/../../../../../../etc",
        "//../outside",
        "/etc",
        "../root-sibling",
    ],
)
def test_dots_never_lead_out_of_the_root(root: Path, path: str) -> None:
    assert working_directory(root, path) == root


def test_a_link_out_of_the_root_is_not_followed(root: Path) -> None:
    (root / "link").symlink_to(root.parent / "outside")
    assert working_directory(root, "link") == root
    assert working_directory(root, "link/deep/x.ipynb") == root


def test_a_link_within_the_root_is_followed(root: Path) -> None:
    (root / "link").symlink_to(root / "folder")
    assert working_directory(root, "link/a.ipynb") == root / "folder"


def test_a_circle_of_links_is_the_root(root: Path) -> None:
    (root / "one").symlink_to(root / "two")
    (root / "two").symlink_to(root / "one")
    assert working_directory(root, "one/x.ipynb") == root


def test_a_root_that_is_a_link_itself(root: Path) -> None:
    link = root.parent / "link to root"
    link.symlink_to(root)
    assert working_directory(link, "folder/a.ipynb") == root / "folder"
    assert working_directory(link, "../outside") == root


@pytest.mark.parametrize("path", ["a\0b", "\0", "folder/\0", "x" * 5_000, "x/" * 5_000, "\ud800", "folder/\ud800/x"])
def test_a_path_that_cannot_be_one_is_within_the_root(root: Path, path: str) -> None:
    assert working_directory(root, path).is_relative_to(root)


def test_a_root_that_is_not_there(tmp_path: Path) -> None:
    assert working_directory(tmp_path / "gone", "x.ipynb") == tmp_path / "gone"


pieces = st.sampled_from(["..", ".", "", "folder", "inner", "link", "a.ipynb", "outside", "root", "~"]) | st.text(
    st.characters(codec=None), max_size=3
)


@pytest.fixture(scope="module")
def linked_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("linked")
    (base / "root" / "folder" / "inner").mkdir(parents=True)
    (base / "outside").mkdir()
    (base / "root" / "link").symlink_to(base / "outside")
    (base / "root" / "folder" / "up").symlink_to("../..")
    return base / "root"


@given(path=st.lists(pieces, max_size=8).map("/".join))
@example(path="folder/up/outside")
@example(path="folder/\ud800")
def test_no_path_leads_out_of_the_root(linked_root: Path, path: str) -> None:
    found = working_directory(linked_root, path)
    assert found.is_relative_to(linked_root)
    assert found.is_dir()


# --- environment variables ----------------------------------------------------------------------


def test_secrets_of_the_server_are_not_for_kernels() -> None:
    environ = dict.fromkeys(SECRETS, "secret") | {"PATH": "/bin", "JUPYTERHUB_API_TOKEN": "the user's own"}
    assert server_environment(environ) == {"PATH": "/bin", "JUPYTERHUB_API_TOKEN": "the user's own"}


@for_each("name", ["JUPYTER_TOKEN", "JPY_API_TOKEN", "KG_AUTH_TOKEN", "CONFIGPROXY_AUTH_TOKEN"])
def test_tokens_that_must_be_secret(name: str) -> None:
    assert server_environment({name: "secret"}) == {}


def test_the_environment_of_the_server_itself_stays_as_it_is() -> None:
    environ = {"JUPYTER_TOKEN": "secret", "PATH": "/bin"}
    server_environment(environ)["NEW"] = "x"
    assert environ == {"JUPYTER_TOKEN": "secret", "PATH": "/bin"}


def test_a_request_sets_kernel_variables_and_what_is_allowed() -> None:
    requested = {"KERNEL_USERNAME": "me", "ALLOWED": "1", "PATH": "/evil", "XKERNEL_": "2", "kernel_x": "3"}
    assert request_environment(requested, ["ALLOWED", "OTHER"]) == {"KERNEL_USERNAME": "me", "ALLOWED": "1"}


def test_a_request_without_allowed_names_sets_only_kernel_variables() -> None:
    assert request_environment({"KERNEL_ID": "x", "LD_PRELOAD": "y"}, []) == {"KERNEL_ID": "x"}


@pytest.mark.parametrize("path", ["folder/a.ipynb", "/folder/a.ipynb"])
def test_the_session_name_is_the_full_path_of_the_notebook(path: str) -> None:
    assert session_environment(Path("/root"), path) == {"JPY_SESSION_NAME": "/root/folder/a.ipynb"}


# --- what provisioners may see --------------------------------------------------------------------


SAFE = compile_pattern("")
REAL = {
    "KERNEL_USERNAME": "josé.müller@example.org",
    "KERNEL_WORKING_DIR": "/home/me/Dropbox (Personal)/données 漢字/a+b, c=d~",
    "KERNEL_LAUNCH_TIMEOUT": "40.0",
    "KERNEL_NAMESPACE": "team-a",
    "KERNEL_IMAGE": "registry.example.org:5000/team/image:1.2@sha256:0f",
    "KERNEL_EXTRA_SPARK_OPTS": "--conf spark.executor.memory=2g --name x",
    "KERNEL_SESSION": "work/notebook 1.ipynb",
    "KERNEL_UID": "1000",
    "KERNEL_EMPTY": "",
    "KERNEL_ü": "ä=b",
    "KERNEL_DECOMPOSED": "e\u0301",
    "KERNEL_EMOJI": "\U0001f468\u200d\U0001f4bb",
}


@pytest.mark.parametrize("local", [True, False])
def test_what_real_clients_send_is_safe(local: bool) -> None:
    check_environment(REAL, SAFE, local=local)


HOSTILE = [
    "a\nb",
    "a\r\nb",
    "a\x85b",
    "a\u2028b",
    "\x1b[2J",
    "\t",
    "$(touch /tmp/x)",
    "${HOME}",
    "`touch /tmp/x`",
    "a; touch /tmp/x",
    "a | sh",
    "a && b",
    "a & b",
    "> /etc/passwd",
    "< /etc/passwd",
    "a' b",
    'a" b',
    "a\\b",
    "{{ config }}",
    "{% x %}",
    "{a: b}",
    "[a, b]",
    "*alias",
    "!!python/object/apply:os.system",
    "a # b",
    "?",
]


@for_each("value", HOSTILE)
def test_what_means_something_to_a_shell_or_yaml_is_refused(value: str) -> None:
    for name, local in product(["KERNEL_USERNAME", "KERNEL_X", "LISTED"], [True, False]):
        with pytest.raises(UnsafeVariable, match=name) as caught:
            check_environment({"KERNEL_OK": "x", name: value}, SAFE, local=local)
        assert caught.value.status == 400
        assert "kernel_env_pattern" in caught.value.message


@for_each("name", ["KERNEL_", "KERNEL_A B", "KERNEL_A;x", "KERNEL_A-B", "KERNEL_A\n", "KERNEL_" + "A" * 201])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(UnsafeVariable, match="KERNEL_"):
        check_environment({name: "x"}, SAFE, local=True)


def test_the_folder_of_a_notebook_may_be_called_anything_on_this_machine() -> None:
    folder = {"KERNEL_WORKING_DIR": "/home/me/R&D [old]/it's #1; $5"}
    check_environment(folder, SAFE, local=True)
    with pytest.raises(UnsafeVariable):
        check_environment(folder, SAFE, local=False)
    with pytest.raises(UnsafeVariable):
        check_environment({"KERNEL_WORKING_DIR": "/home/me\nx"}, SAFE, local=True)


@given(st.text(st.characters(codec="utf-8")))
def test_a_safe_value_is_one_word_for_a_shell_that_quotes_it_and_plain_text_for_yaml(value: str) -> None:
    if SAFE.fullmatch(value):
        assert not set(value) & set("'\"`$\\;|&<>{}[]#!*?\n\r")
        assert len(value.splitlines()) <= 1


def test_the_pattern_can_be_widened_and_narrowed() -> None:
    volumes = {"KERNEL_VOLUMES": '[{"name": "a"}]'}
    check_environment(volumes, compile_pattern(r"[^\n]*"), local=False)
    with pytest.raises(UnsafeVariable, match=r"matches \[a-z\]"):
        check_environment({"KERNEL_USERNAME": "me2"}, compile_pattern("[a-z]+"), local=True)


@for_each("pattern", ["[", "(?P<x", "a{2,1}", "*"])
def test_a_pattern_that_is_none(pattern: str) -> None:
    with pytest.raises(BadOption, match="kernel_env_pattern="):
        compile_pattern(pattern)


def test_how_many_and_how_large() -> None:
    check_environment({f"KERNEL_{number}": "x" for number in range(MAX_VARIABLES)}, SAFE, local=True)
    with pytest.raises(UnsafeEnvironment, match="257 variables"):
        check_environment({f"KERNEL_{number}": "x" for number in range(MAX_VARIABLES + 1)}, SAFE, local=True)
    with pytest.raises(UnsafeEnvironment, match="bytes"):
        check_environment({f"KERNEL_{number}": "x" * 60_000 for number in range(5)}, SAFE, local=True)


def test_a_remote_provisioner_is_not_told_the_name_of_any_notebook() -> None:
    session = {"JPY_SESSION_NAME": "/root/a b.ipynb", "KERNEL_X": "x"}
    assert for_remote(session) == session
    assert for_remote(session | {"JPY_SESSION_NAME": "/root/$(id).ipynb"}) == {"KERNEL_X": "x"}


@for_each(
    ("value", "names"),
    [
        ("${A}/$B_1", {"A", "B_1"}),
        ("$$A $ ${} ${1} $1 ${A", set()),
        (5, set()),
        (None, set()),
        ("", set()),
    ],
)
def test_the_variables_that_a_kernelspec_is_made_from(value: Any, names: set[str]) -> None:
    assert variables_in([value, "plain"]) == names


def test_what_is_set_again_when_a_provisioner_has_prepared_a_launch() -> None:
    requested = {name: "request" for name in ("OTHER", "OVER", "SELF", "CHANGED", "GONE")}
    spec_env = {"OVER": "spec", "SELF": "more ${SELF}", "NEW": "spec", "NUMBER": 5}
    prepared = requested | {"OVER": "spec", "SELF": "more request", "CHANGED": "by it", "NEW": "spec"}
    del prepared["GONE"]
    assert overriding(requested, prepared, spec_env) == {"OVER": "request", "GONE": "request"}


@for_each(
    ("name", "text", "expected"),
    [
        ("KG_PORT", "tcp://10.0.0.1:8888", True),
        ("KG_PORT", "8888", False),
        ("KG_PORT", "", False),
        ("KG_PORT", "tcp://", False),
        ("KG_PORT", "http://10.0.0.1", False),
        ("KG_PORT_RETRIES", "tcp://10.0.0.1:8888", False),
        ("KG_IP", "tcp://10.0.0.1:8888", False),
    ],
)
def test_the_variables_of_a_service_are_told_from_options(name: str, text: str, expected: bool) -> None:
    assert is_of_service(name, text) is expected


def test_only_the_variables_of_a_service_are_warned_of() -> None:
    environ = {"KG_PORT": "tcp://10.0.0.1:1", "KG_SERVICE_HOST": "x", "KG_PORT_RETRIES": "3", "KG_SERVICES": "x"}
    [line] = service_warnings(environ | {"KERNEL_GATEWAY_PORT": "1", "FPS_KERNELS_TOKEN": "x", "KG_PORT_1_TCP": "x"})
    assert line.startswith("Passing over KG_PORT, KG_PORT_1_TCP, KG_SERVICE_HOST: ")
    assert list(service_warnings({"KG_SERVICE_HOST": "x"})) == []
