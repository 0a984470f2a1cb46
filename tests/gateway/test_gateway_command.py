"""The command `fps-kernels`: its options and where they come from, and how it ends."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from traitlets.config import Configurable

from fps_kernels.errors import BadOption
from fps_kernels.gateway.app import KernelGatewayApp, forget_empty_variables
from fps_kernels.gateway.config.gateway_options import ALIASES, FLAGS, NOT_ALIASES
from fps_kernels.gateway.config.read_settings import read
from fps_kernels.gateway.config.settings import Settings
from fps_kernels.gateway.config.traits import CLASSES, NotebookHTTPPersonality

from ..support.client import Client
from ..support.gateways import COMMAND, Begin, Gateway, environment, warnings
from ..support.nursery import nursery
from ..support.ports import free_port


def run(base: Path, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The command, as it ends by itself; not because another program has the port that it would take."""
    base.mkdir(exist_ok=True)
    environ = environment(base, **{"KG_PORT": str(free_port())} | env)
    return nursery.run([COMMAND, *options], cwd=base, env=environ, timeout=30)


# --- what it tells of itself --------------------------------------------------------------------


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    import fps_kernels

    assert run(tmp_path, "--version").stdout.strip() == fps_kernels.__version__


def test_the_help_has_a_line_for_each_option_with_a_name_of_its_own(tmp_path: Path) -> None:
    done = run(tmp_path, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 120
    shown = [line.split()[0].partition("=") for line in lines if line.startswith("  -")]
    flags = [name.lstrip("-") for name, equals, _ in shown if not equals]
    assert sorted(name.lstrip("-") for name, equals, _ in shown if equals) == sorted(ALIASES)
    assert sorted(flags) == sorted({*FLAGS, *NOT_ALIASES})
    for option, note in (("port=PORT", "(default: 8888; KG_PORT)"), ("seed_uri=NOTEBOOK", "(KG_SEED_URI)")):
        [line] = [line for line in lines if line.startswith(f"  --{option} ")]
        assert line.endswith(note)
    assert re.search(r"^examples:\n(  fps-kernels .+\n){4}", done.stdout, re.MULTILINE)


def test_the_whole_help_has_every_option_with_its_variable(tmp_path: Path) -> None:
    text = run(tmp_path, "--help-all").stdout
    for variable, (option, *_) in VARIABLES.items():
        assert f"--{option}=" in text, option
        assert variable in text


def test_the_jupyter_command_finds_it(tmp_path: Path) -> None:
    jupyter = Path(COMMAND).with_name("jupyter")
    done = subprocess.run(
        [jupyter, "fps-kernels", "--version"], env=environment(tmp_path), capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout) == (0, run(tmp_path, "--version").stdout)


# --- config files -------------------------------------------------------------------------------


def test_a_config_file_is_written_where_it_is_found(tmp_path: Path) -> None:
    done = run(tmp_path, "--generate-config")
    assert (done.returncode, done.stderr) == (0, "")
    text = (tmp_path / "config" / "jupyter_kernel_gateway_config.py").read_text()
    assert "# c.KernelGatewayApp.port = 8888" in text
    assert "# c.MappingKernelManager.cull_idle_timeout = 0" in text


CONFIG = """
c.KernelGatewayApp.auth_token = "from the file"
c.KernelGatewayApp.default_kernel_name = "tiny_plain"
c.JupyterWebsocketPersonality.list_kernels = True
c.MappingKernelManager.cull_idle_timeout = 12
"""


def write_config(tmp_path: Path) -> Path:
    folder = tmp_path / "gateway0" / "config"
    folder.mkdir(parents=True)
    path = folder / "jupyter_kernel_gateway_config.py"
    path.write_text(CONFIG)
    return path


async def test_the_config_file_is_heeded_and_the_command_line_wins(begin: Begin, tmp_path: Path) -> None:
    write_config(tmp_path)
    gateway = begin("--KernelGatewayApp.auth_token=from the line", env={"KG_LIST_KERNELS": "False"})
    async with Client(gateway.url) as client:
        url = "/api/kernels?token="
        assert (await client.http.get(f"{url}from the file")).status_code == 401
        assert (await client.http.get(f"{url}from the line")).json() == []
        assert (await client.http.post(f"{url}from the line")).json()["name"] == "tiny_plain"


def test_what_is_set_is_shown(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    done = run(tmp_path / "elsewhere", f"--config={path}", "--port=99", "--show-config")
    assert done.returncode == 0
    assert re.search(r"MappingKernelManager\n +\.cull_idle_timeout = 12", done.stdout)
    assert re.search(r"\.port = 99", done.stdout)
    assert "list_kernels = True" in done.stdout


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """What the command says as it refuses to start."""
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("name", ["no_such.py", "no_such.json", "no_such", "there.txt", "a_folder"])
def test_a_config_file_that_is_not_there_ends_the_command(tmp_path: Path, name: str) -> None:
    (tmp_path / "there.txt").write_text("c.KernelGatewayApp.auth_token = 'x'")  # only .py and .json are loaded
    (tmp_path / "a_folder").mkdir()
    for path in (name, f"{tmp_path}/{name}"):
        assert f"config={path}: no such file" in one_line(run(tmp_path, f"--config={path}"))


@pytest.mark.parametrize("name", ["mine.py", "mine"])
def test_a_config_file_is_found_with_and_without_its_extension(tmp_path: Path, name: str) -> None:
    (tmp_path / "mine.py").write_text("c.KernelGatewayApp.port = 98")
    assert "port = 98" in run(tmp_path, f"--config={name}", "--show-config").stdout


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("mine.py", "c.KernelGatewayApp.port = (\n", ["SyntaxError", "line 1"]),
        ("mine.py", "\nimport no_such_module\n", ["line 2: ModuleNotFoundError: No module named 'no_such_module'"]),
        ("mine.py", "raise RuntimeError('one\\ntwo')", ["line 1: RuntimeError: one two"]),
        ("mine.py", "c.KernelGatewayApp.port = '\0'", ["null bytes"]),
        ("mine.json", "{", ["JSONDecodeError"]),
        ("mine.json", "5", ["TypeError"]),
    ],
)
@pytest.mark.parametrize("found", [True, False])
def test_a_broken_config_file_ends_the_command_with_one_line(
    tmp_path: Path, name: str, content: str, said: list[str], found: bool
) -> None:
    """found: by its name in Jupyter's folder, and not because it is named."""
    path = tmp_path / "config" / f"jupyter_kernel_gateway_config{Path(name).suffix}" if found else tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    line = one_line(run(tmp_path, *([] if found else [f"--config={path}"]), "--port=99"))
    for word in (str(path), *said):
        assert word in line


def test_a_bad_value_in_a_config_file_ends_the_command_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("c.KernelGatewayApp.port = 'abc'")
    line = one_line(run(tmp_path, "--config=mine.py"))
    assert "port" in line
    assert "abc" in line


async def test_culling_options_reach_the_kernels(begin: Begin) -> None:
    gateway = begin(
        "--JupyterWebsocketPersonality.list_kernels=True",
        "--MappingKernelManager.cull_idle_timeout=0.2",
        "--MappingKernelManager.cull_interval=0.1",
    )
    async with Client(gateway.url) as client:
        await client.http.post("/api/kernels")  # on a busy machine it is culled before that is answered
        await client.until(lambda kernels: kernels == [])
    assert "is culled: inactive for" in gateway.log
    assert "not recognized" not in gateway.log
    assert gateway.kernel_processes() == []


# --- variables ----------------------------------------------------------------------------------


def cors(name: str) -> Callable[[Settings], Any]:
    return lambda settings: settings.access.cors[f"Access-Control-{name}"]


VARIABLES: dict[str, tuple[str, str, Any, Callable[[Settings], Any] | None]] = {
    "KG_IP": ("KernelGatewayApp.ip", "::1", "::1", lambda s: s.listening.ip),
    "KG_PORT": ("KernelGatewayApp.port", "1234", 1234, lambda s: s.listening.port),
    "KG_PORT_RETRIES": ("KernelGatewayApp.port_retries", "3", 3, lambda s: s.listening.port_retries),
    "KG_BASE_URL": ("KernelGatewayApp.base_url", "a/b", "/a/b/", lambda s: s.base_url),
    "KG_AUTH_TOKEN": ("KernelGatewayApp.auth_token", "t", "t", lambda s: s.access.policy.token),
    "KG_ALLOW_CREDENTIALS": ("KernelGatewayApp.allow_credentials", "true", "true", cors("Allow-Credentials")),
    "KG_ALLOW_HEADERS": ("KernelGatewayApp.allow_headers", "X", "X", cors("Allow-Headers")),
    "KG_ALLOW_METHODS": ("KernelGatewayApp.allow_methods", "GET", "GET", cors("Allow-Methods")),
    "KG_ALLOW_ORIGIN": ("KernelGatewayApp.allow_origin", "*", "*", cors("Allow-Origin")),
    "KG_ALLOW_ORIGIN_PAT": (
        "KernelGatewayApp.allow_origin_pat",
        "https://.*",
        True,
        lambda s: s.access.policy.origins.allows("https://a"),
    ),
    "KG_AUTH_TOKEN_FILE": ("KernelGatewayApp.auth_token_file", "f", "f", None),
    "KG_PROXY_USER_HEADER": ("KernelGatewayApp.proxy_user_header", "X-User", "X-User", None),
    "KG_PROXY_SECRET_FILE": ("KernelGatewayApp.proxy_secret_file", "f", "f", None),
    "KG_LOCAL_HOSTNAMES": (
        "KernelGatewayApp.local_hostnames",
        "a,b",
        {"a", "b"},
        lambda s: s.access.policy.local_names and s.access.policy.local_names.listed,
    ),
    "KG_ALLOW_REMOTE_ACCESS": (
        "KernelGatewayApp.allow_remote_access",
        "true",
        None,
        lambda s: s.access.policy.local_names,
    ),
    "KG_ALLOW_OPEN_ACCESS": ("KernelGatewayApp.allow_open_access", "true", True, lambda s: s.access.allowed_open),
    "KG_EXPOSE_HEADERS": ("KernelGatewayApp.expose_headers", "X", "X", cors("Expose-Headers")),
    "KG_MAX_AGE": ("KernelGatewayApp.max_age", "5", "5", cors("Max-Age")),
    "KG_TRUST_XHEADERS": ("KernelGatewayApp.trust_xheaders", "True", True, lambda s: s.listening.trust_proxy),
    "KG_MAX_KERNELS": ("KernelGatewayApp.max_kernels", "4", 4, lambda s: s.kernels.max_kernels),
    "KG_SEED_URI": ("KernelGatewayApp.seed_uri", "s.ipynb", "s.ipynb", lambda s: s.seed_uri),
    "KG_SEED_CELL_TIMEOUT": ("KernelGatewayApp.seed_cell_timeout", "1.5", 1.5, lambda s: s.seed_cell_timeout_s),
    "KG_PRESPAWN_COUNT": ("KernelGatewayApp.prespawn_count", "2", 2, lambda s: s.prespawn_count),
    "KG_DEFAULT_KERNEL_NAME": ("KernelGatewayApp.default_kernel_name", "k", "k", lambda s: s.default_kernel_name),
    "KG_FORCE_KERNEL_NAME": ("KernelGatewayApp.force_kernel_name", "k", "k", lambda s: s.force_kernel_name),
    "KG_ENV_PROCESS_WHITELIST": (
        "KernelGatewayApp.env_process_whitelist",
        "A,B",
        ("A", "B"),
        lambda s: s.env_process_names,
    ),
    "KG_API": ("KernelGatewayApp.api", "mine", "mine", lambda s: s.api),
    "KG_WS_PING_INTERVAL_SECS": ("KernelGatewayApp.ws_ping_interval", "7", 7, lambda s: s.listening.ping_interval_s),
    "KG_LIST_KERNELS": ("JupyterWebsocketPersonality.list_kernels", "true", True, lambda s: s.list_kernels),
    "KG_ENV_WHITELIST": (
        "JupyterWebsocketPersonality.env_whitelist",
        "A,B",
        ["A", "B"],
        lambda s: s.kernels.client_env,
    ),
    "KG_KERNEL_ENV_PATTERN": (
        "KernelGatewayApp.kernel_env_pattern",
        "a*",
        "a*",
        lambda s: s.kernels.kernel_env_pattern,
    ),
    "KG_CLIENT_ENVS": ("JupyterWebsocketPersonality.client_envs", "A", ["A"], lambda s: s.kernels.client_env),
    "KG_SOCK": ("KernelGatewayApp.sock", "/a/s", "/a/s", lambda s: s.listening.sock),
    "KG_SOCK_MODE": ("KernelGatewayApp.sock_mode", "660", 0o660, lambda s: s.listening.sock_mode),
    "KG_SHUTDOWN_NO_ACTIVITY_TIMEOUT": (
        "KernelGatewayApp.shutdown_no_activity_timeout",
        "7",
        7,
        lambda s: s.no_activity_timeout_s,
    ),
    "KG_CERTFILE": ("KernelGatewayApp.certfile", "c", "c", None),
    "KG_KEYFILE": ("KernelGatewayApp.keyfile", "k", "k", None),
    "KG_CLIENT_CA": ("KernelGatewayApp.client_ca", "c", "c", None),
    "KG_SSL_VERSION": ("KernelGatewayApp.ssl_version", "2", 2, None),
    "KG_CELL_PARSER": ("NotebookHTTPPersonality.cell_parser", "p", "p", None),
    "KG_ALLOW_NOTEBOOK_DOWNLOAD": ("NotebookHTTPPersonality.allow_notebook_download", "True", True, None),
    "KG_STATIC_PATH": ("NotebookHTTPPersonality.static_path", "s", "s", None),
}
"""The option, a text, and what comes of it: in the settings, or where they are read from."""


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """No KG_* variables, and no config files."""
    for name in [name for name in os.environ if name.startswith("KG_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))
    return monkeypatch


def value_of(app: KernelGatewayApp, option: str, look: Callable[[Settings], Any] | None) -> Any:
    if look is not None:
        return look(read(app))
    section, name = option.split(".")
    owner = NotebookHTTPPersonality(parent=app) if section == "NotebookHTTPPersonality" else app
    return getattr(owner, name)


@pytest.mark.parametrize("variable", VARIABLES)
def test_each_option_has_its_variable(clean: pytest.MonkeyPatch, variable: str) -> None:
    option, text, expected, look = VARIABLES[variable]
    clean.setenv(variable, text)
    assert value_of(KernelGatewayApp(), option, look) == expected


@pytest.mark.parametrize("variable", ["KG_PORT", "KG_LIST_KERNELS", "KG_AUTH_TOKEN", "KG_ENV_PROCESS_WHITELIST"])
def test_the_command_line_wins_over_variables(clean: pytest.MonkeyPatch, variable: str) -> None:
    other = {"KG_PORT": "7", "KG_LIST_KERNELS": "False", "KG_AUTH_TOKEN": "z", "KG_ENV_PROCESS_WHITELIST": "Z"}
    option, text, expected, look = VARIABLES[variable]
    clean.setenv(variable, other[variable])
    app = KernelGatewayApp()
    words = text.capitalize().split(",") if variable == "KG_LIST_KERNELS" else text.split(",")
    app.initialize([f"--{option}={word}" for word in words])
    assert value_of(app, option, look) == expected


def test_what_is_not_set_is_as_in_the_original(clean: pytest.MonkeyPatch) -> None:
    settings = read(KernelGatewayApp())
    assert (settings.listening.ip, settings.listening.port, settings.listening.port_retries) == ("127.0.0.1", 8888, 50)
    assert (settings.base_url, settings.access.policy.token, settings.access.cors) == ("/", "", {})
    assert (settings.kernels.max_kernels, settings.prespawn_count, settings.seed_uri) == (None, 0, None)
    assert settings.seed_cell_timeout_s == 600
    assert (settings.list_kernels, settings.listening.ping_interval_s) == (False, 30)
    assert settings.kernels.cull_idle_timeout_s == 0


@pytest.mark.parametrize("cls", [KernelGatewayApp, *CLASSES])
def test_the_help_tells_the_default_that_is_used(clean: pytest.MonkeyPatch, cls: type[Configurable]) -> None:
    owner = cls()
    told = {name: trait.default_value_repr() for name, trait in cls.class_own_traits(config=True).items()}
    assert told == {name: repr(getattr(owner, name)) for name in told}


def test_the_documentation_has_every_option_and_variable() -> None:
    text = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text()
    documented = set(re.findall(r"`(?:[A-Za-z]*\.)?(\w+)`", text))
    classes = {base for cls in CLASSES for base in cls.mro() if issubclass(base, Configurable)} | {KernelGatewayApp}
    names = {name for cls in classes for name in cls.class_own_traits(config=True)}
    assert len(names) > 40
    assert names - documented == set()
    assert set(VARIABLES) - documented == set()


@pytest.mark.parametrize(
    "variable",
    [
        "KG_PORT",
        "KG_PORT_RETRIES",
        "KG_MAX_KERNELS",
        "KG_PRESPAWN_COUNT",
        "KG_SEED_CELL_TIMEOUT",
        "KG_SSL_VERSION",
        "KG_WS_PING_INTERVAL_SECS",
    ],
)
def test_a_variable_that_is_not_a_number_is_named_with_its_value(clean: pytest.MonkeyPatch, variable: str) -> None:
    option, _, _, look = VARIABLES[variable]
    clean.setenv(variable, "abc")
    with pytest.raises(BadOption, match=f"{variable}='abc'"):
        value_of(KernelGatewayApp(), option, look)


@pytest.mark.parametrize("variable", VARIABLES)
def test_an_empty_variable_is_not_set(clean: pytest.MonkeyPatch, variable: str) -> None:
    section, name = VARIABLES[variable][0].split(".")
    [owner] = [cls for cls in (*CLASSES, KernelGatewayApp) if cls.__name__ == section]
    expected = getattr(owner(), name)
    clean.setenv(variable, "")
    assert getattr(owner(), name) == expected


@pytest.mark.parametrize("url", ["tcp://10.0.0.1:8888", "udp://10.0.0.1:53", "tcp://[fd00::1]:8888"])
def test_the_port_of_a_service_is_no_option(clean: pytest.MonkeyPatch, url: str) -> None:
    clean.setenv("KG_PORT", url)
    assert KernelGatewayApp().port == 8888


@pytest.mark.parametrize("text", ["http://10.0.0.1:8888", "tcp:", "8888/tcp", "8888,", "0x10", "8888 8889", "８８８8a"])
def test_what_is_neither_a_port_nor_a_services_is_refused(clean: pytest.MonkeyPatch, text: str) -> None:
    clean.setenv("KG_PORT", text)
    with pytest.raises(BadOption, match="KG_PORT="):
        _ = KernelGatewayApp().port


def test_the_url_of_a_service_is_no_other_number(clean: pytest.MonkeyPatch) -> None:
    clean.setenv("KG_MAX_KERNELS", "tcp://10.0.0.1:8888")
    with pytest.raises(BadOption, match="KG_MAX_KERNELS="):
        _ = KernelGatewayApp().max_kernels


def service(name: str) -> dict[str, str]:
    """The variables of a Kubernetes service."""
    url = "tcp://10.0.0.1:8888"
    return {
        f"{name}_SERVICE_HOST": "10.0.0.1",
        f"{name}_SERVICE_PORT": "8888",
        f"{name}_SERVICE_PORT_HTTP": "8888",
        f"{name}_PORT": url,
        f"{name}_PORT_8888_TCP": url,
        f"{name}_PORT_8888_TCP_PROTO": "tcp",
        f"{name}_PORT_8888_TCP_PORT": "8888",
        f"{name}_PORT_8888_TCP_ADDR": "10.0.0.1",
    }


async def test_the_variables_of_services_are_passed_over_and_told(begin: Begin) -> None:
    variables = {**service("KG"), **service("KERNEL_GATEWAY"), **service("FPS_KERNELS"), "KG_PORT_RETRIES": "60"}
    gateway = begin(f"--port={free_port()}", env=variables)
    for name in ("kg", "kernel-gateway", "fps-kernels"):
        [line] = [line for line in gateway.log.splitlines() if f"for a service named {name} " in line]
        assert warnings(line) == [line]
        for variable in service(name.upper().replace("-", "_")):
            assert f"{variable}," in line or f"{variable}:" in line
        assert "KG_PORT_RETRIES" not in line
    async with Client(gateway.url) as client:
        kernel_id = await client.start()
        assert await client.evaluate(kernel_id, "[name for name in os.environ if name.startswith('KG_')]") == "[]"
        assert await client.evaluate(kernel_id, "os.environ['KERNEL_GATEWAY']") == "1"


def test_empty_variables_of_jupyter_are_not_set(tmp_path: Path) -> None:
    """JUPYTER_PREFER_ENV_PATH= would be true for jupyter_core."""
    names = ("JUPYTER_PREFER_ENV_PATH", "JUPYTER_DEFAULT_PROVISIONER_NAME", "JUPYTER_NO_CONFIG", "KG_PORT")
    done = run(tmp_path, "--show-config", **dict.fromkeys(names, ""))
    assert done.returncode == 0, done.stderr
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setenv(name, "")
        patch.setenv("KG_IP", "127.0.0.2")
        patch.setenv("OTHER", "")
        forget_empty_variables()
        assert not [name for name in names if name in os.environ]
        assert (os.environ["KG_IP"], os.environ["OTHER"]) == ("127.0.0.2", "")


@pytest.mark.parametrize("command", [[], ["lab"]])
def test_a_folder_that_is_gone_at_the_start_is_told_in_one_line(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "own").mkdir()
    script = f'cd {tmp_path / "own"} && rmdir {tmp_path / "own"} && exec "$@"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", COMMAND, *command],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    [line] = [line for line in done.stderr.splitlines() if "getcwd" not in line]  # the shell's own
    assert line == "fps-kernels: The folder that this was started in does not exist any more; cd to another one"


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--KernelGatewayApp.port=abc"], ["port", "abc"]),
        (["--port=70000"], ["port", "70000"]),
        (["--KernelGatewayApp.port_retries=-1"], ["port_retries", "-1"]),
        (["--ip=999.1.1.1"], ["ip", "999.1.1.1"]),
        (["--KernelGatewayApp.max_kernels=-1"], ["max_kernels", "-1"]),
        (["--KernelGatewayApp.prespawn_count=-1"], ["prespawn_count", "-1"]),
        (
            ["--KernelGatewayApp.prespawn_count=3", "--KernelGatewayApp.max_kernels=2"],
            ["prespawn_count=3", "max_kernels=2"],
        ),
        (["--KernelGatewayApp.seed_cell_timeout=0"], ["seed_cell_timeout=0: "]),
        (["--KernelGatewayApp.seed_cell_timeout=-1"], ["seed_cell_timeout=-1: "]),
        (["--KernelGatewayApp.seed_cell_timeout=inf"], ["seed_cell_timeout=inf: "]),
        (["--KernelGatewayApp.seed_cell_timeout=nan"], ["seed_cell_timeout=nan: "]),
        (["--seed_uri=/no/such.ipynb"], ["seed_uri=/no/such.ipynb"]),
        (["--certfile=/no/such.pem"], ["certfile=/no/such.pem"]),
        (["--keyfile=/no/such.pem"], ["keyfile=/no/such.pem"]),
        (["--client-ca=/no/such.pem"], ["client_ca=/no/such.pem"]),
        (["--api=no.such.module"], ["api=no.such.module"]),
        (["--api=broken"], ["api=broken", "boom"]),
        (["--api=json"], ["api=json", "create_personality"]),
        (["--JupyterWebsocketPersonality.list_kernels=maybe"], ["list_kernels", "maybe"]),
        (["--MappingKernelManager.cull_idle_timeout=soon"], ["cull_idle_timeout", "soon"]),
        (["--MappingKernelManager.cull_interval=-1"], ["MappingKernelManager.cull_interval=-1: should be greater"]),
        (["--AsyncMappingKernelManager.cull_interval=0"], [" AsyncMappingKernelManager.cull_interval=0: "]),
        (["--MappingKernelManager.cull_idle_timeout=-1.5"], [" MappingKernelManager.cull_idle_timeout=-1.5: "]),
        (["--MappingKernelManager.kernel_info_timeout=0"], [" MappingKernelManager.kernel_info_timeout=0: "]),
        (["--KernelManager.shutdown_wait_time=-1"], [" KernelManager.shutdown_wait_time=-1: "]),
        (
            ["--MappingKernelManager.cull_interval=-1", "--KernelGatewayApp.max_kernels=-1"],
            [" MappingKernelManager.cull_interval=-1: ", " max_kernels=-1: "],
        ),
        (["--MappingKernelManager.root_dir=/no/such"], ["root_dir=/no/such: there is no such folder"]),
        (["--MappingKernelManager.root_dir=/etc/passwd"], ["root_dir=/etc/passwd: there is no such folder"]),
        (["--MappingKernelManager.root_dir=~nobody-here/x"], ["root_dir=~nobody-here/x: "]),
        (["--KernelManager.transport_encryption=rot13"], ["transport_encryption", "rot13"]),
        (["--KernelGatewayApp.shutdown_no_activity_timeout=-1"], ["shutdown_no_activity_timeout=-1: should be"]),
        (["--KernelGatewayApp.shutdown_no_activity_timeout=inf"], ["shutdown_no_activity_timeout=inf: should be"]),
        (["--KernelGatewayApp.sock_mode=rw"], ["sock_mode=rw: not permissions"]),
    ],
)
def test_a_bad_value_ends_the_command_with_one_line(tmp_path: Path, options: list[str], named: list[str]) -> None:
    variables = {}
    if "--api=broken" in options:
        (tmp_path / "broken.py").write_text("raise RuntimeError('boom\\nand more')")
        variables["PYTHONPATH"] = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    done = run(tmp_path, "--KernelGatewayApp.port_retries=0", *options, **variables)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    for word in named:
        assert word in line
    assert "kernels." not in line  # a name that is nowhere in the gateway's documentation


def test_a_bad_variable_ends_the_command_with_one_line(tmp_path: Path) -> None:
    done = run(tmp_path, KG_PORT="abc")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "fps-kernels: KG_PORT='abc': not a whole number\n"


async def test_a_taken_port_ends_the_command_with_one_line(begin: Begin, tmp_path: Path) -> None:
    gateway = begin()
    done = await asyncio.to_thread(
        run, tmp_path / "other", f"--port={gateway.port}", "--KernelGatewayApp.port_retries=0"
    )
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert f"port={gateway.port}" in line
    assert "in use" in line


@pytest.mark.parametrize(
    "option",
    [
        "--NoSuchClass.no_such=1",
        "--NotebookHTTPPersonality.no_such=1",
        "--KernelManager.no_such=1",
    ],
)
def test_an_unknown_option_of_a_class_is_told(begin: Begin, option: str) -> None:
    gateway = begin(option)
    assert "no_such" in gateway.log


@pytest.mark.parametrize(
    "option",
    [
        "KernelGatewayApp.cookie_secret",
        "KernelGatewayApp.kernel_manager_class",
        "KernelGatewayApp.personality_class",
        "MappingKernelManager.kernel_manager_class",
        "MultiKernelManager.shared_context",
        "AsyncMappingKernelManager.use_pending_kernels",
        "KernelSpecManager.kernel_spec_class",
        "KernelManager.cache_ports",
        "Session.key",
    ],
)
def test_an_option_that_has_no_meaning_here_is_accepted_and_told_once(begin: Begin, option: str) -> None:
    gateway = begin(f"--{option}=some.thing")
    gateway.wait_ready()
    [line] = [line for line in gateway.log.splitlines() if option.partition(".")[2] in line]
    assert warnings(line) == [line]
    assert f" {option}" in line
    assert "it has no effect" in line


def test_options_that_have_no_meaning_here_are_told_of_a_config_file(begin: Begin, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("c.KernelGatewayApp.cookie_secret = b'x'\nc.KernelGatewayApp.kernel_manager_class = dict\n")
    gateway = begin(f"--config={path}")
    gateway.wait_ready()
    log = gateway.log
    assert log.count("KernelGatewayApp.cookie_secret has no meaning here") == 1
    assert log.count("KernelGatewayApp.kernel_manager_class has no meaning here") == 1


# --- signals ------------------------------------------------------------------------------------


async def busy_kernel(gateway: Gateway, *, ready: Path, name: str = "tiny_plain") -> None:
    """Start a kernel, and return when a cell runs that never ends."""
    os.mkfifo(ready)
    async with Client(gateway.url) as client, await client.connect(await client.start(name)) as socket:
        await socket.execute(f"open({str(ready)!r}, 'w').close()\nwhile True: pass")
        await asyncio.to_thread(lambda: open(ready).close())


@pytest.mark.parametrize(
    ("name", "signum"),
    [
        ("tiny_plain", signal.SIGTERM),
        ("tiny_ignores_sigterm", signal.SIGTERM),
        ("tiny_plain", signal.SIGINT),
    ],
)
async def test_a_signal_ends_it_with_a_busy_kernel(begin: Begin, tmp_path: Path, name: str, signum: int) -> None:
    gateway = begin("--KernelManager.shutdown_wait_time=2")
    await busy_kernel(gateway, ready=tmp_path / "ready", name=name)
    assert len(gateway.kernel_processes()) == 1
    assert await asyncio.to_thread(gateway.stop, signum) == 0
    assert gateway.kernel_processes() == []
    assert gateway.connection_files() == []
    # What the kernel writes, which may be interrupted anywhere, is in the log as well.
    said = [line for line in gateway.log.splitlines() if "kernel_driver.stderr]" not in line]
    assert not any("Traceback" in line for line in said)


def test_sigterm_ends_it_while_the_pool_starts(begin: Begin) -> None:
    options = ("--KernelGatewayApp.default_kernel_name=tiny_silent", "--KernelGatewayApp.prespawn_count=2")
    gateway = begin("--debug", *options, ready=False)
    gateway.wait_log("launched")
    assert gateway.stop() == 0
    assert gateway.kernel_processes() == []
    assert gateway.connection_files() == []
    assert "Traceback" not in gateway.log


class Terminal:
    """A terminal that the command has as its stdin."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def close(self) -> None:
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


def test_on_a_terminal_it_asks_before_it_ends(begin: Begin, terminal: Terminal) -> None:
    gateway = begin(stdin=terminal.theirs)
    gateway.process.send_signal(signal.SIGINT)
    gateway.wait_log("(y/[n])?")
    terminal.type("n\n")
    gateway.wait_log("Resuming.")
    assert httpx.get(f"{gateway.url}/api", trust_env=False).status_code == 200
    gateway.process.send_signal(signal.SIGINT)
    gateway.wait_log("Resuming.\nShut down this server (y/[n])?")
    terminal.type("y\n")
    assert gateway.wait_end() == 0


def test_a_second_interrupt_is_an_answer(begin: Begin, terminal: Terminal) -> None:
    gateway = begin(stdin=terminal.theirs)
    gateway.process.send_signal(signal.SIGINT)
    gateway.wait_log("(y/[n])?")
    gateway.process.send_signal(signal.SIGINT)
    assert gateway.wait_end() == 0


def test_it_does_not_ask_when_told_so(begin: Begin, terminal: Terminal) -> None:
    gateway = begin("-y", stdin=terminal.theirs)
    assert gateway.stop(signal.SIGINT) == 0
    assert "(y/[n])?" not in gateway.log
