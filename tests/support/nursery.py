"""Servers of the tests, forked from a process that has imported what they need: a start costs a fifth.

They are the commands themselves, with arguments, environment, folder and log of their own; only the imports are
shared. What a test puts into PYTHONPATH is not: such a server is a process from its beginning.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NoReturn

PROGRAMS = {
    "fps-kernels": "fps_kernels.gateway.app",
    "jupyter-lab": "jupyterlab.labapp",
    "jupyter-notebook": "notebook.app",
    "jupyter-server": "jupyter_server.serverapp",
    "jupyverse": "jupyverse_api.cli",
}
"""Each with its module, whose `main` it is."""
MODULES = (
    "fps_kernels.gateway.fastapi_app",
    "fps_kernels.gateway.jupyter_websocket",
    "fps_kernels.notebook_http.personality",
    "fps_kernels.gateway.run",
    "fps_kernels.main",
    "jupyter_client",
    "uvicorn.lifespan.off",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
)


class Child:
    """As a subprocess.Popen."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._nursery.ask(poll=self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("server", timeout or 0)
            time.sleep(0.01)
        return code

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, signum)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


Process = subprocess.Popen[bytes] | Child


def begin_alone(command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> subprocess.Popen[bytes]:
    """Begin a process that is not forked."""
    with log.open("wb") as file:
        return subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=file, stderr=file)


class Nursery:
    """The process that forks, started for the first server; it ends with this one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stream: Any = None

    def start(self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> Process:
        if env.get("PYTHONPATH") != os.environ.get("PYTHONPATH"):
            return begin_alone(command, env=env, cwd=cwd, log=log)
        log.write_bytes(b"")
        return Child(self, self.ask(command=list(command), env=dict(env), cwd=str(cwd), log=str(log)))

    def ask(self, **request: Any) -> Any:
        with self._lock:
            if self._stream is None:
                ours, theirs = socket.socketpair()
                with theirs:
                    process = subprocess.Popen(
                        [sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()]
                    )
                self._stream = ours.makefile("rw")
                ours.close()
                atexit.register(self._end, process)
            self._stream.write(json.dumps(request) + "\n")
            self._stream.flush()
            return json.loads(self._stream.readline())

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        self._stream.close()
        process.wait()


nursery = Nursery()


# --- the other side -------------------------------------------------------------------------------


def main() -> None:
    for name in (PROGRAMS["fps-kernels"], PROGRAMS["jupyverse"], *MODULES):  # few tests need the other one
        importlib.import_module(name)
    for entry_point in entry_points(group="jupyverse.components"):
        entry_point.load()
    connection = socket.socket(fileno=int(sys.argv[1]))
    stream = connection.makefile("rw")
    children: set[int] = set()
    while line := stream.readline():
        request = json.loads(line)
        if "poll" in request:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
            children.discard(pid)
        else:
            answer = os.fork()
            if not answer:
                stream.close()
                connection.close()
                run(request)
            children.add(answer)
        stream.write(json.dumps(answer) + "\n")
        stream.flush()
    for pid in children:  # of tests that were cut short
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def run(request: dict[str, Any]) -> NoReturn:
    """Be the command, to its end."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for target, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
        os.dup2(source, target)
        if source > 2 and target != 1:
            os.close(source)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = request["command"]
    code = 1
    try:
        importlib.import_module(PROGRAMS[Path(sys.argv[0]).name]).main()
        code = 0
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
        if isinstance(exc.code, str):
            print(exc.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter does at its end
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
