"""Run the command given as arguments on a free port, and see JupyterLab and a kernel answer at the URL it prints."""

import json
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

START_S = 60


def fetch(url: str, method: str = "GET", body: bytes | None = None, token: str = "") -> bytes:
    request = urllib.request.Request(url, data=body, method=method)
    if token:
        request.add_header("Authorization", f"token {token}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as response:
        return response.read()


def status(url: str) -> int:
    """The status of the answer to a request without a token."""
    try:
        fetch(url)
    except urllib.error.HTTPError as exc:
        return exc.code
    return 200


def printed_url(server: subprocess.Popen[bytes], output: Path) -> str:
    """The URL with the token, once the server has printed it."""
    deadline = time.monotonic() + START_S
    while not (found := re.search(r"^ +(http\S+token=\S+)$", output.read_text(), re.MULTILINE)):
        if time.monotonic() > deadline or server.poll() is not None:
            sys.exit(f"There is no URL: {output.read_text()}")
        time.sleep(0.1)
    return found[1]


def wait_idle(kernel_url: str, token: str) -> None:
    """Returns when the kernel is idle: its start is answered before that."""
    deadline = time.monotonic() + START_S
    while (kernel := json.loads(fetch(kernel_url, token=token)))["execution_state"] != "idle":
        if time.monotonic() > deadline or kernel["execution_state"] == "dead":
            sys.exit(f"The kernel does not start: {kernel}")
        time.sleep(0.1)


def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [str(Path(sys.argv[1]).absolute()), *sys.argv[2:], "--port", str(port)]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "output"
        with output.open("wb") as file:
            server = subprocess.Popen(command, cwd=folder, stderr=file)
        try:
            page, _, token = printed_url(server, output).partition("?token=")
            url = page.removesuffix("/lab")
            if status(f"{url}/api/kernels") != 401:
                sys.exit("The server needs no token")
            page_text = fetch(page, token=token)
            assert b"jupyter-config-data" in page_text, page_text[:500]
            kernel = json.loads(fetch(f"{url}/api/kernels", "POST", token=token))
            wait_idle(f"{url}/api/kernels/{kernel['id']}", token)
            fetch(f"{url}/api/kernels/{kernel['id']}", "DELETE", token=token)
        finally:
            server.terminate()
            server.wait(30)
            print(output.read_text(), file=sys.stderr)
    print("JupyterLab and a kernel answer")


if __name__ == "__main__":
    main()
