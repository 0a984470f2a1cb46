"""What a server does with its kernels, in a few words for its operator. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KEPT = {
    "never": "end with the server",
    "crash": "outlive a crash of the server; `fps-kernels kernels` lists them",
    "always": "outlive the server; `fps-kernels kernels` lists them",
}


def kernels_summary(options: Mapping[str, Any]) -> str:
    """Sentences about what happens to kernels, by the options of the names that `options.OPTIONS` has."""
    said = [KEPT.get(str(options.get("keep_kernels")), KEPT["never"])]
    prewarm = options.get("prewarm")
    ready = sum(prewarm.values()) if isinstance(prewarm, dict) else prewarm
    if ready:
        said.append(f"{ready} kept ready")
    if (most := options.get("max_kernels")) is not None:
        said.append(f"at most {most}")
    if idle_s := options.get("cull_idle_timeout_s"):
        said.append(f"ended after {idle_s:g} s without use")
    return ", ".join(said)
