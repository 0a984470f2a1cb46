"""Run README's command of a stock JupyterLab, and see a cell run in Chromium.

Usage: check_jupyter_lab.py SCREENSHOT COMMAND..., with a Python that has playwright; SCREENSHOT is a file for the page
as it is in the end, COMMAND what the README says.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

START_S = 300
SAID = re.compile(r"fps_kernels \S+ runs the kernels")
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


def begin(words: list[str], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Begin `jupyter lab` on a free port, with no settings but its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    program = Path(words[0]).absolute()
    command = [str(program), *words[1:], "--no-browser", f"--port={port}", "--port-retries=0"]
    if os.geteuid() == 0:
        command.append("--allow-root")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
    environ |= {"HOME": str(folder), "PATH": f"{program.parent}:{environ['PATH']}"}
    with log.open("wb") as file:
        return subprocess.Popen(command, cwd=folder, env=environ, stdout=file, stderr=file)


def printed_url(server: subprocess.Popen[bytes], log: Path) -> str:
    """The URL with the token, once the server has printed it."""
    deadline = time.monotonic() + START_S
    while not (found := re.search(r"(http://127\.0\.0\.1\S+token=[0-9a-f]+)\s", log.read_text())):
        if time.monotonic() > deadline or server.poll() is not None:
            sys.exit(f"There is no URL: {log.read_text()}")
        time.sleep(0.1)
    return found[1]


def run_cell(chromium: str, url: str, screenshot: Path) -> None:
    """Make a notebook, run a cell, see what it returns and keep a picture, as a user does who has just installed it."""
    expect.set_options(timeout=START_S * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1200, "height": 800})
        page.set_default_timeout(START_S * 1000)
        page.goto(url)
        try:
            page.locator(".jp-LauncherCard[data-category=Notebook]").first.click()
            page.locator(".jp-Notebook .jp-Cell .cm-content").click()
            page.keyboard.insert_text("6 * 7")
            page.keyboard.press("Shift+Enter")  # at once: no press is lost while the kernel starts
            expect(page.locator(".jp-Notebook .jp-OutputArea-output")).to_have_text("42")
            expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle")
        finally:
            page.screenshot(path=screenshot)
            browser.close()


def kernel_processes(folder: Path) -> list[str]:
    """The command lines of processes whose connection file is in a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended
            continue
        if f"{folder}/" in command and "kernel-" in command:
            found.append(command)
    return found


def main() -> None:
    screenshot = Path(sys.argv[1]).absolute()
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("chromium is missing: apt-get install chromium")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = folder / "log"
        server = begin(sys.argv[2:], folder, log)
        try:
            run_cell(chromium, printed_url(server, log), screenshot)
            if not SAID.search(log.read_text()):
                sys.exit("The log does not say who runs the kernels")
        finally:
            server.terminate()
            server.wait(60)
            print(log.read_text(), file=sys.stderr)
        if left := kernel_processes(folder):
            sys.exit(f"Kernels are left: {left}")
    print(f"A cell ran in JupyterLab, whose kernels are ours: {screenshot}")


main()
