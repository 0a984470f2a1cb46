"""How people and programs come in at `fps-kernels lab`: token, password, cookie, a proxy's word."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fps_kernels.serving.access.login_cookie import LoginCookies, signing_key
from fps_kernels.serving.access.password_hash import hash_password

from ..support.gateways import COMMAND, Gateway, environment, make_certificate, warnings
from ..support.nursery import nursery
from ..support.ports import free_port
from ..support.servers import NOT_NEEDED
from ..support.waits import until

LEAN = [*(word for name in NOT_NEEDED for word in ("--disable", name)), "--set", "kernels.prewarm=0"]
NO_SECRET = str(Path(__file__).parents[2] / ".gitignore")
"""A file that is neither a secret nor long."""
TOKEN = "a-token-of-the-tests"
LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
PAGE = {"Accept": "text/html"}
Start = Callable[..., Gateway]


@pytest.fixture(scope="module")
def start_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """start(*options, env=None) starts a server that takes no plugin which these tests do not need."""
    servers: list[Gateway] = []
    base = tmp_path_factory.mktemp("labs")

    def start(*options: str, env: dict[str, str] | None = None) -> Gateway:
        folder = base / f"lab{len(servers)}"
        servers.append(Gateway(folder, "lab", "--port", str(free_port()), *LEAN, *options, env=env))
        servers[-1].wait_ready()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def closed(start_shared: Start) -> Gateway:
    return start_shared("--token", TOKEN)


def client(server: Gateway, **options: Any) -> httpx.Client:
    return httpx.Client(base_url=server.url, trust_env=False, timeout=30, **options)


def refused(folder: Path, *options: str, env: dict[str, str] | None = None) -> str:
    """The one line with which it ends."""
    environ = environment(folder) | (env or {})
    done = nursery.run([COMMAND, "lab", *options], cwd=folder, env=environ, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    line = done.stderr.splitlines()[-1]
    assert done.stderr.splitlines() == [*warnings(done.stderr), line]
    return line


def secret_file(folder: Path, text: str, name: str = "secret") -> str:
    path = folder / name
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


# --- the token of each start ------------------------------------------------------------------------


def test_each_start_makes_a_token_and_prints_the_url(start_shared: Start) -> None:
    tokens = set()
    for _ in range(2):
        server = start_shared()
        server.wait_log("token=")
        [url] = re.findall(r"^    (http\S+)$", server.log, re.MULTILINE)
        token = url.partition("token=")[2]
        assert re.fullmatch("[0-9a-f]{48}", token)
        assert url == f"{server.url}/lab?token={token}"
        with client(server) as http:
            assert http.get("/api/status").status_code == 401
            assert http.get("/api", headers={"Authorization": f"token {token}"}).status_code == 200
        tokens.add(token)
    assert len(tokens) == 2


def test_where_kernels_are_kept_so_is_the_token(start_shared: Start, tmp_path: Path) -> None:
    keep = ["--set", "kernels.keep_kernels=crash", "--set", f"kernels.state_dir={tmp_path / 'state'}"]
    tokens = []
    for signum in (signal.SIGKILL, signal.SIGTERM):
        server = start_shared(*keep)
        server.wait_log("token=")
        tokens += re.findall("token=([0-9a-f]{48})$", server.log, re.MULTILINE)
        with client(server) as http:
            assert http.get("/api/kernels", headers={"Authorization": f"token {tokens[0]}"}).status_code == 200
        server.stop(signum)
    assert tokens == tokens[:1] * 2


@pytest.mark.parametrize("given", ["option", "file", "variable", "variable of a file", "config"])
def test_a_token_is_given_in_five_ways(start_shared: Start, tmp_path: Path, given: str) -> None:
    path = secret_file(tmp_path, f"{TOKEN}\n")
    options, env = {
        "option": (["--token", TOKEN], {}),
        "file": (["--token-file", path], {"FPS_KERNELS_TOKEN": "another"}),
        "variable": ([], {"FPS_KERNELS_TOKEN": TOKEN}),
        "variable of a file": ([], {"FPS_KERNELS_TOKEN_FILE": path}),
        "config": (["--config", secret_file(tmp_path, f"token: {TOKEN}\nlocal-hostnames: [a]\n", "lab.yaml")], {}),
    }[given]
    server = start_shared(*options, env=env)
    with client(server) as http:
        assert http.get("/api", params={"token": "another"}).status_code == 401
        assert http.get("/api", params={"token": TOKEN}).status_code == 200
    assert TOKEN not in server.log


def test_kernels_do_not_inherit_the_token(start_shared: Start) -> None:
    server = start_shared(env={"FPS_KERNELS_TOKEN": TOKEN})
    with client(server, params={"token": TOKEN}) as http:
        kernel_id = http.post("/api/kernels", json={"name": "tiny_plain"}).json()["id"]
        while http.get(f"/api/kernels/{kernel_id}").json()["execution_state"] != "idle":
            time.sleep(0.02)
        assert "FPS_KERNELS_TOKEN" not in server.process_of(kernel_id).environ()
        assert http.delete(f"/api/kernels/{kernel_id}").status_code == 204


def test_no_token_is_asked_for_by_name(start_shared: Start) -> None:
    server = start_shared("--no-token")
    with client(server) as http:
        assert http.get("/api").status_code == 200
    assert "This server is open: every user" in server.log


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--no-token", "--token", "x"], "--no-token: there is another option"),
        (["--token", ""], "--token: empty"),
        (["--token", "a\tb"], "--token: it must not contain control characters"),
        (["--token-file", "missing"], "--token-file=missing: No such file or directory"),
        (["--token-file", os.devnull], f"--token-file={os.devnull}: empty"),
        (["--password-file", __file__], f"--password-file={__file__}: longer than 4 KiB"),
        (["--password-file", NO_SECRET], f"--password-file={NO_SECRET}: not made by `fps-kernels password`"),
        (["--ip", "0.0.0.0", "--no-token"], "ip=0.0.0.0: everyone who can reach it could run code. Set --token-file"),
        (["--ip", "::", "--no-token"], "--allow-open-access"),
        (["--ip", "", "--token", "x" * 15], "ip=(all addresses): a token of fewer than 16 characters can be guessed"),
        (["--proxy-user-header", "X-User"], "--proxy-user-header and --proxy-secret-file: both are needed"),
        (["--allow-origin-pat", "("], "--allow-origin-pat=(: not a regular expression"),
        (["--config", "missing"], "--config=missing: No such file or directory"),
        (["--client-ca", "x.pem"], "client_ca=x.pem: has no effect without certfile"),
    ],
)
def test_a_wrong_option_is_one_line(tmp_path: Path, options: list[str], said: str) -> None:
    assert said in refused(tmp_path, *options)


def test_it_does_not_start_beside_a_plugin_that_lets_strangers_in(tmp_path: Path) -> None:
    info = tmp_path / "site" / "fps_auth-0.6.4.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fps-auth\nVersion: 0.6.4\n")
    (info / "entry_points.txt").write_text("[jupyverse.components]\nauth = fps_auth.main:AuthComponent\n")
    path = os.pathsep.join(filter(None, [str(tmp_path / "site"), os.environ.get("PYTHONPATH")]))
    for options in (["--token", TOKEN], ["--disable", "auth"]):
        assert "pip uninstall fps-auth" in refused(tmp_path, *options, env={"PYTHONPATH": path})


@pytest.mark.parametrize("origins", [["--allow-origin", "*"], ["--set", "kernels.allow_origin=['*']"]])
def test_all_origins_without_a_token_are_a_warning(start_shared: Start, origins: list[str]) -> None:
    said = "Every web page that is open on this machine can run code here: allow_origin=* without a token"
    for token, is_warned in ((["--no-token"], True), (["--token", TOKEN], False)):
        lines = warnings(start_shared(*origins, *token).log)
        assert any(said in line for line in lines) is is_warned


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "not a mapping"),
        ("tokem: x", "there is no option tokem"),
        ("port: x", "port should be a number, not 'x'"),
        ("keep-alive-s: x", "keep-alive-s should be a number, not 'x'"),
        ("max-connections: 0.5", "max-connections should be a number, not 0.5"),
        ("head-timeout-s: 0", "--head-timeout-s=0: should be greater than 0"),
        ("max-connections: 0", "--max-connections=0: should be"),
        ("no-token: 1", "no-token should be true or false, not 1"),
        ("set: kernels.x=1", "set should be a list of texts"),
        ("a: [", "lab.yaml"),
    ],
)
def test_what_is_wrong_in_a_config_file_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(tmp_path, "--config", secret_file(tmp_path, text, "lab.yaml"))


# --- browsers ---------------------------------------------------------------------------------------


def test_a_browser_trades_the_token_for_a_cookie(closed: Gateway) -> None:
    with client(closed) as http:
        answer = http.get(f"/api/?token={TOKEN}", headers=PAGE)
        assert (answer.status_code, answer.headers["location"]) == (302, "/api/")
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith(f"fps-kernels-{closed.url.rpartition(':')[2]}=")
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
        assert "Secure" not in cookie
        assert answer.headers["cache-control"] == "no-store"
        assert http.get("/api/kernels").status_code == 200
        assert http.post("/api/kernels").status_code == 403
        assert "X-XSRFToken" in http.post("/api/kernels").json()["message"]


def test_a_cookie_of_tls_is_for_this_host_and_for_tls_only(start_shared: Start, tmp_path: Path) -> None:
    certfile, keyfile = make_certificate(tmp_path, "server")
    server = start_shared("--token", TOKEN, "--certfile", certfile, "--keyfile", keyfile)
    with client(server, verify=False) as http:
        cookie = http.get(f"/lab?token={TOKEN}", headers=PAGE).headers["set-cookie"]
        assert cookie.startswith("__Host-fps-kernels-")
        assert cookie.endswith("; Secure")
        assert http.get("/api/kernels").status_code == 200


def test_a_page_without_credentials_leads_to_the_form_and_back(closed: Gateway) -> None:
    with client(closed) as http:
        answer = http.get("/lab/tree/a%2Fb?x=1&token=wrong", headers=PAGE)
        assert (answer.status_code, answer.headers["location"]) == (302, "/login?next=/lab/tree/a%252Fb%3Fx%3D1")
        page = http.get(answer.headers["location"])
        assert "default-src 'none'" in page.headers["content-security-policy"]
        form = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.text))
        assert form["next"] == "/lab/tree/a%2Fb?x=1"
        wrong = http.post("/login", data=form | {"secret": "wrong"})
        assert (wrong.status_code, "Wrong token." in wrong.text) == (401, True)
        right = http.post("/login", data=form | {"secret": TOKEN})
        assert (right.status_code, right.headers["location"]) == (303, "/lab/tree/a%2Fb?x=1")
        assert http.get("/api/kernels").status_code == 200
        assert http.post("/api/nothing", headers={"X-XSRFToken": form["_xsrf"]}).status_code == 404
        assert http.get("/logout").status_code == 200
        assert http.get("/api/kernels").status_code == 401


def test_a_cookie_is_worthless_after_the_logout_wherever_it_is(closed: Gateway) -> None:
    with client(closed) as http:
        http.get(f"/lab?token={TOKEN}", headers=PAGE)
        copied = dict(http.cookies)
        http.get("/logout")
    with client(closed, cookies=copied) as http:
        assert http.get("/api/kernels").status_code == 401


@pytest.mark.parametrize("next_path", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x"])
def test_the_form_leads_to_no_other_site(closed: Gateway, next_path: str) -> None:
    with client(closed) as http:
        http.get("/login")
        form = {"_xsrf": http.cookies["_xsrf"], "secret": TOKEN, "next": next_path}
        assert http.post("/login", data=form).headers["location"] == "/lab"


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 403), (b"secret=" + TOKEN.encode(), 403), (b"x" * 20_000, 413), (b"&a=" * 50, 400), (b"\xff\xfe", 400)],
)
def test_a_form_that_is_not_ours_is_refused(closed: Gateway, body: bytes, status: int) -> None:
    with client(closed) as http:
        http.get("/login")
        answer = http.post("/login", content=body)
        assert answer.status_code == status
        assert http.get("/api/kernels").status_code == 401


def test_the_link_of_another_site_is_followed_in_a_step_of_ours(closed: Gateway) -> None:
    with client(closed) as http:
        answer = http.get(f"/lab/tree/a?token={TOKEN}&x=1", headers=LINK | PAGE)
        assert answer.status_code == 200
        assert 'content="0; url=/lab/tree/a?x=1"' in answer.text
        assert TOKEN not in answer.text
        assert http.get("/api/kernels").status_code == 200
    with client(closed) as http:
        answer = http.get("/lab", headers=LINK | PAGE)
        assert 'content="0; url=/lab"' in answer.text
        assert "set-cookie" not in answer.headers
        assert "jupyter-config-data" not in answer.text


def test_a_program_needs_no_cookie_and_no_xsrf_token(closed: Gateway) -> None:
    with client(closed, headers={"Authorization": f"Bearer {TOKEN}"}) as http:
        assert http.post("/api/nothing").status_code == 404
        assert http.get(f"/api?token={TOKEN}").status_code == 200
        assert "set-cookie" not in http.get("/api/kernels").headers


# --- a password -------------------------------------------------------------------------------------


def test_a_password_instead_of_the_token(start_shared: Start, tmp_path: Path) -> None:
    path = tmp_path / "password"
    done = subprocess.run(
        [COMMAND, "password", str(path)], input="correct horse\n", capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    server = start_shared("--password-file", str(path))
    assert "token=" not in server.log
    with client(server) as http:
        assert ">Password<" in http.get("/login").text
        form = {"_xsrf": http.cookies["_xsrf"]}
        assert http.post("/login", data=form | {"secret": "wrong horse"}).status_code == 401
        assert http.get("/api/kernels").status_code == 401
        assert http.post("/login", data=form | {"secret": "correct horse"}).status_code == 303
        assert http.get("/api/kernels").status_code == 200
    assert "horse" not in server.log
    assert hash_password("x").split(":")[0] not in server.log


def test_a_short_password_gets_no_hash(tmp_path: Path) -> None:
    done = subprocess.run([COMMAND, "password"], input="short\n", capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "fps-kernels: The password is shorter than 8 characters\n"


# --- users of a proxy -------------------------------------------------------------------------------


def test_a_proxy_names_the_user(start_shared: Start, tmp_path: Path) -> None:
    secret = secret_file(tmp_path, "between us")
    server = start_shared("--proxy-user-header", "X-Forwarded-User", "--proxy-secret-file", secret)
    user, proof = {"X-Forwarded-User": "ann"}, {"X-Fps-Kernels-Proxy-Secret": "between us"}
    with client(server) as http:
        assert http.get("/api/me", headers=user).status_code == 401
        assert http.get("/api/me", headers=proof).status_code == 401
        assert http.get("/api/me", headers=user | proof | {"X-Fps-Kernels-Proxy-Secret": "guess"}).status_code == 401
        assert http.get("/api", headers=user | proof).status_code == 200
        assert http.post("/api/nothing", headers=user | proof).status_code == 404
        ambient = user | proof | {"Cookie": "of-the-proxy=1"}
        assert http.post("/api/nothing", headers=ambient).status_code == 403
        xsrf = {"Cookie": f"of-the-proxy=1; _xsrf={'x' * 32}", "X-XSRFToken": "x" * 32}
        assert http.post("/api/nothing", headers=ambient | xsrf).status_code == 404
    assert "between us" not in server.log


def test_a_short_secret_of_a_proxy_is_not_served_to_other_machines(tmp_path: Path) -> None:
    options = ["--proxy-user-header", "X-User", "--proxy-secret-file", secret_file(tmp_path, "abc")]
    said = (
        "a proxy's secret of fewer than 16 characters can be guessed from other machines. Set a longer --proxy-secret"
    )
    assert said in refused(tmp_path, "--ip", "0.0.0.0", *options)


async def test_a_guesser_has_no_new_address_for_each_guess_behind_a_proxy(start_shared: Start) -> None:
    server = start_shared("--token", TOKEN, "--trust-xheaders")
    limits = httpx.Limits(max_connections=250)
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=60, limits=limits) as http:

        async def guess(number: int, token: str) -> int:
            # The proxy adds to X-Forwarded-For, and lets through what its client says is X-Real-IP.
            headers = {"X-Real-IP": f"192.0.2.{number}", "X-Forwarded-For": "198.51.100.1"}
            return (await http.get("/api/status", headers=headers | {"Authorization": f"token {token}"})).status_code

        first = await asyncio.gather(*(guess(number, "wrong") for number in range(60)))
        answers = await asyncio.gather(*(guess(number, "wrong") for number in range(250)))
        assert (set(first), set(answers)) == ({401}, {401, 429})
        assert await guess(1, TOKEN) == 200


async def test_who_guesses_the_secret_of_the_proxy_is_answered_late_or_not_at_all(
    start_shared: Start, tmp_path: Path
) -> None:
    secret = secret_file(tmp_path, "between us")
    server = start_shared(
        "--proxy-user-header", "X-Forwarded-User", "--proxy-secret-file", secret, "--token", TOKEN, "--trust-xheaders"
    )

    def named(number: int, **more: str) -> dict[str, str]:
        """A request by way of somebody who names another client each time."""
        return {"X-Real-IP": f"192.0.2.{number}", "X-Forwarded-User": "ann"} | more

    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=60) as http:

        async def guess(number: int, secret: str, **more: str) -> int:
            headers = named(number, **more) | {"X-Fps-Kernels-Proxy-Secret": secret}
            return (await http.get("/api/status", headers=headers)).status_code

        right = {"Authorization": f"token {TOKEN}"}
        for more in ({}, right):  # whoever has the token does not become another user by it
            answers = await asyncio.gather(*(guess(number, f"guess{number}", **more) for number in range(40)))
            assert set(answers) == {401, 429}
        assert await guess(1, "between us") == 200
        # What strangers try by way of the proxy does not shut it out.
        strangers = [guess(1, "between us", **{"X-Forwarded-User": "", "Authorization": "token x"}) for _ in range(40)]
        tried = asyncio.gather(*strangers)
        assert await guess(2, "between us") == 200
        assert set(await tried) == {401, 429}


def test_an_open_server_gives_no_cookie_that_lets_in_later(start_shared: Start, tmp_path: Path) -> None:
    env = {"JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")}
    port = str(free_port())
    place = ["--port", port, "--port-retries", "0"]
    opened = start_shared("--no-token", *place, env=env)
    with client(opened) as http:
        for headers in (PAGE, PAGE | LINK):
            answer = http.get("/lab?token=x", headers=headers)
            assert "token" not in answer.headers.get("location", "")
            assert f"fps-kernels-{port}" not in http.cookies
    opened.stop()
    [key] = (tmp_path / "runtime").glob("fps_kernels_cookie_secret")
    made_before = LoginCookies(signing_key(key.read_bytes(), "", ""), int(port)).make("", time.time())
    options = ["--proxy-user-header", "X-Forwarded-User", "--proxy-secret-file", secret_file(tmp_path, "between us")]
    server = start_shared(*options, *place, env=env)
    with client(server, cookies={f"fps-kernels-{port}": made_before}) as http:
        assert http.get("/api/kernels").status_code == 401


def test_a_proxys_word_for_a_user_does_not_become_a_cookie(start_shared: Start, tmp_path: Path) -> None:
    options = ["--proxy-user-header", "X-Forwarded-User", "--proxy-secret-file", secret_file(tmp_path, "between us")]
    named = {"X-Forwarded-User": "ann", "X-Fps-Kernels-Proxy-Secret": "between us"}
    for more in ([], ["--token", TOKEN]):
        server = start_shared(*options, *more)
        for headers in (PAGE, PAGE | LINK):
            with client(server) as http:
                assert http.get("/lab?token=x", headers=headers | named).status_code in (200, 302)
                assert not [name for name in http.cookies if name.startswith("fps-kernels-")]


# --- files ------------------------------------------------------------------------------------------


def test_the_key_of_cookies_is_private_and_lasts(start_shared: Start, tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    env = {"JUPYTER_RUNTIME_DIR": str(runtime)}
    first = start_shared("--token", TOKEN, env=env)
    key = runtime / "fps_kernels_cookie_secret"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    with client(first) as http:
        http.get(f"/lab?token={TOKEN}", headers=PAGE)
        [value] = [value for name, value in http.cookies.items() if name.startswith("fps-kernels-")]
    first.stop()
    made = key.read_bytes()
    second = start_shared("--token", TOKEN, "--port-retries", "0", env=env)
    with client(second, cookies={f"fps-kernels-{second.url.rpartition(':')[2]}": value}) as http:
        assert http.get("/api/kernels").status_code == 200
    second.stop()
    assert key.read_bytes() == made
    key.chmod(0o644)  # somebody may have read it
    start_shared("--token", TOKEN, env=env).stop()
    assert key.read_bytes() != made
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


async def test_a_browser_is_opened_by_a_file_that_only_the_user_can_read(start_shared: Start, tmp_path: Path) -> None:
    runtime, seen = tmp_path / "runtime", tmp_path / "seen"
    browser = tmp_path / "browser"
    browser.write_text(
        f"""#!/bin/sh
path="${{1#file://}}"
(stat -c %a "$path"; cat "$path") > {seen}.new
mv {seen}.new {seen}
"""
    )
    browser.chmod(0o700)
    server = start_shared("--open-browser", env={"JUPYTER_RUNTIME_DIR": str(runtime), "BROWSER": str(browser)})
    server.wait_log("token=")
    token = re.findall(r"token=([0-9a-f]+)", server.log)[0]
    await until(seen.exists)
    mode, _, page = seen.read_text().partition("\n")
    assert mode == "600"
    assert f"/lab?token={token}" in page
    [file] = runtime.glob("fps-kernels-*-open.html")
    server.stop()
    assert not file.exists()
