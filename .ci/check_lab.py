"""Run the command given as arguments on a free port, and see JupyterLab and a kernel answer."""

import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path


def fetch(url: str, method: str = "GET", body: bytes | None = None) -> bytes:
    request = urllib.request.Request(url, data=body, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as response:
        return response.read()


def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [str(Path(sys.argv[1]).absolute()), *sys.argv[2:], "--port", str(port)]
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(command, cwd=folder)
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    page = fetch(f"{url}/lab")
                    break
                except urllib.error.URLError:
                    if time.monotonic() > deadline or server.poll() is not None:
                        raise
                    time.sleep(0.1)
            assert b"jupyter-config-data" in page, page[:500]
            kernel = json.loads(fetch(f"{url}/api/kernels", "POST"))
            assert kernel["execution_state"] == "idle", kernel
            fetch(f"{url}/api/kernels/{kernel['id']}", "DELETE")
        finally:
            server.terminate()
            server.wait(30)
    print("JupyterLab and a kernel answer")


main()
