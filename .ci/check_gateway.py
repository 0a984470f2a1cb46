"""Run the command given as arguments on a free port, and see a kernel answer."""

import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
from pathlib import Path

from check_lab import START_S, fetch, wait_idle


def wait_answer(server: subprocess.Popen[bytes], url: str) -> None:
    """Returns when the server answers."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            fetch(url)
            return
        except urllib.error.URLError as exc:
            if time.monotonic() > deadline or server.poll() is not None:
                sys.exit(f"The gateway does not answer: {exc}")
        time.sleep(0.1)


def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [str(Path(sys.argv[1]).absolute()), *sys.argv[2:], f"--port={port}"]
    url = f"http://127.0.0.1:{port}/api"
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(command, cwd=folder)
        try:
            wait_answer(server, url)
            kernel = json.loads(fetch(f"{url}/kernels", "POST", b'{"name": "python3"}'))
            wait_idle(f"{url}/kernels/{kernel['id']}", "")
        finally:
            server.terminate()
            server.wait(30)
    print("The gateway and a kernel answer")


main()
