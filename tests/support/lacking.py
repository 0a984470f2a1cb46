"""Systems that lack something, as a server sees them; its kernels have all."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import indent

NO_LOOP_EXTRAS = """
sys.modules["uvloop"] = None
import asyncio
def missing(*_, **__): raise NotImplementedError
for name in ("add_signal_handler", "add_reader", "add_writer"):
    setattr(asyncio.SelectorEventLoop, name, missing)
"""
"""An event loop with nothing but what every loop has, as those of Windows and Qt."""

NO_MODULES = """
for name in ("ctypes", "_ctypes", "fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
"""

NO_CALLS = """
import os
for name in ("pidfd_open", "link", "getloadavg", "memfd_create", "sched_getaffinity"):
    delattr(os, name)
"""

REFUSED_CALLS = """
import errno, os
def refused(*_, **__): raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
os.pidfd_open = os.link = refused
"""
"""A filter of system calls, as containers have; old Linux says ENOSYS."""

NO_CURVE = """
import zmq
has, zmq.has = zmq.has, lambda name: name != "curve" and has(name)
def unsupported(): raise zmq.ZMQError(zmq.ENOTSUP)
zmq.curve_keypair = unsupported
"""

WINDOWS = "sys.platform = 'win32'"
"""As far as that can be played: asyncio, for one, cannot be imported any more."""

FEW_DESCRIPTORS = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))"

FIRST_PROCESS = """
import ctypes, os
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans become its children
getpid, first = os.getpid, os.getpid()
os.getpid = lambda: 1 if getpid() == first else getpid()
"""
"""A container's process 1, which has no init."""


def lacking(folder: Path, code: str) -> dict[str, str]:
    """Variables for a server in whose Python the code is run before all else, but not in that of its kernels."""
    folder.mkdir(parents=True)
    servers = "any('fps-kernels' in word or 'jupyverse' in word for word in sys.orig_argv)"
    (folder / "sitecustomize.py").write_text(f"import sys\nif {servers}:\n{indent(code, '    ')}\n")
    return {"PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}"}
