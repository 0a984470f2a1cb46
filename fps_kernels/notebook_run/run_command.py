"""The command `fps-kernels run`: from its options to an exit code."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from ..errors import BadOption, FPSKernelsError
from ..log_text import printable
from ..serving.event_loop import new_loop
from ..serving.logs import configure, hide
from ..serving.standard_streams import tell
from ..tasks import cancel_and_wait
from .cell_loop import CellLoop, RunBounds
from .file_notebook import FileNotebook
from .given_parameters import defaults_cell, inject, read_parameters
from .notebook_json import Notebook, parse_notebook
from .output_file import OutputFile, SaveFailed
from .parameter_code import parameter_language
from .run_kernel import RunKernel, own_kernel
from .run_outcome import Outcome
from .run_parser import parser
from .run_stop import RunStop
from .run_view import RunView, make_view

CLEAR_LINE = "\x1b[?25h\r"
"""Shows the cursor of a terminal again, which a bar hides."""


def main(argv: Sequence[str]) -> None:
    """Run a notebook; the exit code says how that ended."""
    options = parser().parse_args(argv)
    configure(logging.DEBUG if options.debug else logging.CRITICAL)
    try:
        outcome = _run(options)
    except FPSKernelsError as exc:
        tell(f"fps-kernels run: {printable(exc.message)}")
        outcome = Outcome.USAGE if isinstance(exc, BadOption) else Outcome.NO_KERNEL
    if outcome:
        sys.exit(outcome)


def _run(options: argparse.Namespace) -> Outcome:
    """Raises BadOption for what is wrong before anything runs, KernelFailure when there is no kernel."""
    parameters = read_parameters(options.parameter_files, options.parameters)
    if options.server and options.cwd:
        raise BadOption("--cwd: the server decides where its kernels run")
    output = OutputFile(_output_path(options))
    document = _read(options.notebook)
    output.check()
    folder = _folder(options)
    view = make_view(quiet=options.quiet, progress=options.progress)
    name = options.kernel or _named_kernel(document)
    if options.server:
        from .server_kernel import server_kernel

        token = options.token or os.environ.get("FPS_KERNELS_TOKEN", "")
        hide(token)
        kernel = server_kernel(options.server, token, name, options.start_timeout)
    else:
        kernel = own_kernel(name, folder, options.start_timeout)
    bounds = RunBounds(options.timeout, options.allow_errors)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(_run_on(kernel, document, parameters, output, bounds, view))


async def _run_on(
    opening: AbstractAsyncContextManager[RunKernel],
    document: Notebook,
    parameters: Mapping[str, Any],
    output: OutputFile,
    bounds: RunBounds,
    view: RunView,
) -> Outcome:
    def at_once() -> None:
        if sys.stderr.isatty():
            sys.stderr.write(CLEAR_LINE)

    stop = RunStop(at_once)
    stop.listen()
    notebook = FileNotebook(output.shown, document)
    work = asyncio.create_task(_run_cells(opening, notebook, dict(parameters), output, bounds, view, stop), name="run")
    stopped = asyncio.create_task(stop.event.wait(), name="stop")
    try:
        await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not work.done() and not notebook.begun:  # the kernel is still starting
            await cancel_and_wait(work)
        return stop.outcome if work.cancelled() else await work
    finally:
        view.end()
        await cancel_and_wait(work, stopped)


async def _run_cells(
    opening: AbstractAsyncContextManager[RunKernel],
    notebook: FileNotebook,
    parameters: dict[str, Any],
    output: OutputFile,
    bounds: RunBounds,
    view: RunView,
    stop: RunStop,
) -> Outcome:
    troubles: list[str] = []

    def on_trouble(trouble: str) -> None:
        if not troubles:
            view.note(f"The notebook cannot be saved now: {trouble}")
        troubles.append(trouble)

    async with opening as kernel:
        if parameters:
            _inject(notebook, parameters, kernel, view)
        _describe(notebook, kernel)
        notebook.clear()
        notebook.begun = True
        saving = asyncio.create_task(output.follow(notebook, on_trouble), name="saving")
        loop = CellLoop(notebook, kernel, bounds, view, stop)
        try:
            outcome = await loop.run()
        finally:
            await cancel_and_wait(saving)
            saved = _save(notebook, output)  # before the kernel's end, which may take long
    if not saved:
        return outcome or Outcome.NOT_SAVED
    if loop.failed:
        view.note(f"{loop.failed} cells failed, which --allow-errors allows")
    return outcome


def _save(notebook: FileNotebook, output: OutputFile) -> bool:
    try:
        output.write(notebook.json())
    except SaveFailed as exc:
        tell(f"fps-kernels run: the notebook could not be saved: {printable(exc)}")
        return False
    return True


def _inject(notebook: FileNotebook, parameters: dict[str, Any], kernel: RunKernel, view: RunView) -> None:
    """Put the parameters in, in the language of the kernel; its word counts, not the notebook's. Raises BadOption."""
    at = defaults_cell(notebook)
    if at is not None:
        source = notebook.cells[at]["source"]
        if unknown := [name for name in parameters if name not in source]:
            view.note(f"The cell tagged parameters does not have {', '.join(unknown)}")
    info = kernel.info.get("language_info")
    name = info.get("name") if isinstance(info, Mapping) else kernel.info.get("language")
    inject(notebook, parameters, parameter_language(name if isinstance(name, str) else ""))


def _describe(notebook: FileNotebook, kernel: RunKernel) -> None:
    """Say in the notebook on which kernel it ran, if it says nothing, or another one."""
    metadata = notebook.document["metadata"]
    named = metadata.get("kernelspec")
    other = not isinstance(named, dict) or named.get("name") != kernel.name
    if other:
        display_name, language = kernel.spec.get("display_name"), kernel.spec.get("language")
        notebook.set_metadata(
            "kernelspec",
            {"name": kernel.name, "display_name": display_name or kernel.name}
            | ({"language": language} if language else {}),
        )
    info = kernel.info.get("language_info")
    if isinstance(info, dict) and (other or not metadata.get("language_info")):
        notebook.set_metadata("language_info", info)


def _read(name: str) -> Notebook:
    """Raises BadOption."""
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as exc:
        raise BadOption(f"{name}: {exc.strerror or exc}") from exc
    except ValueError as exc:  # a NUL in the name
        raise BadOption(f"{name}: {exc}") from exc
    try:
        return parse_notebook(data)
    except BadOption as exc:
        raise BadOption(f"{name}: not a notebook: {exc.message}") from exc


def _output_path(options: argparse.Namespace) -> Path | None:
    """Where to save to; None for standard output."""
    if options.inplace and options.notebook == "-":
        raise BadOption("--inplace: standard input cannot be saved to; see -o")
    if options.output == "-" or (options.output is None and options.notebook == "-"):
        return None
    if options.output is not None:
        return Path(options.output)
    path = Path(options.notebook)
    return path if options.inplace else path.parent / f"{path.name.removesuffix('.ipynb')}.executed.ipynb"


def _folder(options: argparse.Namespace) -> Path:
    """Where the kernel runs. Raises BadOption."""
    if options.cwd is not None:
        folder = Path(options.cwd)
        if not folder.is_dir():
            raise BadOption(f"--cwd={options.cwd}: there is no such folder")
    else:
        folder = Path() if options.notebook == "-" else Path(options.notebook).parent
    return folder.resolve()


def _named_kernel(document: Notebook) -> str | None:
    """The kernelspec that a notebook names, if any."""
    spec = document["metadata"].get("kernelspec")
    name = spec.get("name") if isinstance(spec, dict) else None
    return name if isinstance(name, str) and name else None
