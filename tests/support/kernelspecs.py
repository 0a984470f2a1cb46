"""Kernelspecs of the tiny kernels."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from .kernels.kernel import MODES

KERNEL = Path(__file__).parent / "kernels" / "kernel.py"


def install_kernelspecs(share: Path) -> None:
    """tiny_MODE for each mode of the tiny kernel, in a folder for JUPYTER_PATH."""
    for mode in MODES:
        spec: dict[str, Any] = {
            "argv": [sys.executable, str(KERNEL), mode, "{connection_file}"],
            "display_name": f"Tiny ({mode})",
            "language": "python",
        }
        if mode == "message_interrupt":
            spec["interrupt_mode"] = "message"
        add_kernelspec(share, f"tiny_{mode}", spec)
    add_kernelspec(
        share,
        "tiny_curve",
        {
            "argv": [sys.executable, str(KERNEL), "plain", "{connection_file}"],
            "display_name": "Tiny (curve)",
            "language": "python",
            "metadata": {"supported_encryption": ["curve"]},
        },
    )
    add_kernelspec(
        share,
        "no_such_program",
        {
            "argv": ["no-such-program", "{connection_file}"],
            "display_name": "No such program",
            "language": "none",
        },
    )


def add_kernelspec(share: Path, name: str, spec: dict[str, Any]) -> Path:
    folder = share / "kernels" / name
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps(spec))
    return folder
