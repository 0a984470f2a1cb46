"""Starts a kernel on a server, runs a cell on it, prints what the cell prints, and ends the kernel.

usage: run_cell.py SERVER TOKEN_FILE CODE
"""

import json
import sys
import urllib.request
import uuid
from pathlib import Path

import websockets.sync.client

server, token_file, code = sys.argv[1:]
authorization = {"Authorization": f"token {Path(token_file).read_text().strip()}"}


def ask(method: str, path: str, body: object = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server + path, data, authorization, method=method)
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.read()


kernel = json.loads(ask("POST", "/api/kernels", {"name": "python3"}))
url = f"ws{server.removeprefix('http')}/api/kernels/{kernel['id']}/channels?session_id={uuid.uuid4().hex}"
with websockets.sync.client.connect(url, additional_headers=authorization) as socket:
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": "execute_request",
        "session": "me",
        "username": "me",
        "version": "5.4",
    }
    content = {"code": code, "silent": False, "allow_stdin": False}
    socket.send(json.dumps({"channel": "shell", "header": header, "content": content}))
    for frame in socket:
        message = json.loads(frame)
        if message["parent_header"].get("msg_id") != header["msg_id"]:
            continue  # it belongs to somebody else's request, or to none
        if message["msg_type"] == "stream":
            print(message["content"]["text"], end="")
        if message["msg_type"] == "error":
            print(f"{message['content']['ename']}: {message['content']['evalue']}", file=sys.stderr)
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            break
ask("DELETE", f"/api/kernels/{kernel['id']}")
