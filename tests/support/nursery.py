"""Servers and commands of the tests, forked from a process that has imported what they need: a start costs a fifth.

They are the commands themselves, with arguments, environment, folder and log of their own; only the imports are
shared. What a test puts into PYTHONPATH is not: such a server is a process from its beginning.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
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


GROUPS = ("jupyverse.components",)
"""Groups of entry points that are imported, too."""

STACKS = signal.SIGUSR2
"""Has a server that was forked write to its log where each of its threads is."""


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


def is_shared(env: Mapping[str, str]) -> bool:
    """Whether what such a process imports is what others do."""
    return env.get("PYTHONPATH") == os.environ.get("PYTHONPATH")


class Nursery:
    """The process that forks, started for the first server; it ends with this one.

    python: the interpreter. modules: what it imports before it forks. groups: groups of entry points likewise.
    """

    def __init__(
        self,
        python: str = sys.executable,
        modules: Sequence[str] = (PROGRAMS["fps-kernels"], PROGRAMS["jupyverse"], *MODULES),
        groups: Sequence[str] = GROUPS,
    ) -> None:
        self._command = [python, __file__, json.dumps([*modules]), json.dumps([*groups])]
        self._lock = threading.Lock()
        self._stream: Any = None

    def start(self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> Process:
        if not is_shared(env):
            return begin_alone(command, env=env, cwd=cwd, log=log)
        log.write_bytes(b"")
        return self._start(command, env, cwd, log, log)

    def run(
        self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """As `subprocess.run`, of a command that ends by itself and reads nothing."""
        if not is_shared(env):
            return subprocess.run(
                command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
            )
        with tempfile.TemporaryDirectory() as folder:
            said, errors = Path(folder, "stdout"), Path(folder, "stderr")
            child = self._start(command, env, cwd, said, errors)
            try:
                code = child.wait(timeout)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                raise
            return subprocess.CompletedProcess(list(command), code, said.read_text(), errors.read_text())

    def _start(self, command: Sequence[str], env: Mapping[str, str], cwd: Path, out: Path, err: Path) -> Child:
        words = [str(word) for word in command]
        return Child(self, self.ask(command=words, env=dict(env), cwd=str(cwd), out=str(out), err=str(err)))

    def ask(self, **request: Any) -> Any:
        with self._lock:
            if self._stream is None:
                ours, theirs = socket.socketpair()
                with theirs:
                    process = subprocess.Popen([*self._command, str(theirs.fileno())], pass_fds=[theirs.fileno()])
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
    modules, groups, descriptor = sys.argv[1:]
    for name in json.loads(modules):
        importlib.import_module(name)
    for group in json.loads(groups):
        for entry_point in entry_points(group=group):
            entry_point.load()
    connection = socket.socket(fileno=int(descriptor))
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
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    out = os.open(request["out"], flags)
    err = out if request["err"] == request["out"] else os.open(request["err"], flags)
    null = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, null), (1, out), (2, err)):
        os.dup2(source, target)
    for source in {null, out, err} - {0, 1, 2}:
        os.close(source)
    faulthandler.register(STACKS, file=sys.__stderr__ or 2)
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
