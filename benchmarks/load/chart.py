"""The picture of a run of scaling.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

Result = dict[str, Any]
Series = dict[str, list[Result]]
NAMES = {
    "kernels": "kernels, one client each",
    "spread": "clients, over up to 50 kernels",
    "one": "clients, all on one kernel",
}
COLOURS = {"kernels": "tab:blue", "spread": "tab:green", "one": "tab:orange", "rates": "tab:red"}


def draw(points: list[Result], file: Path) -> None:
    """As PNG. points: as scaling.py measures them; a series that is missing is left out."""
    series = {name: sorted((p for p in points if p["series"] == name), key=size) for name in (*NAMES, "rates")}
    figure, axes = plt.subplots(3, 2, figsize=(12, 14), layout="constrained")
    panels = [
        (_cost_paced, axes[0][0]),
        (_cost_flood, axes[0][1]),
        (_echo, axes[1][0]),
        (_memory, axes[1][1]),
        (_descriptors, axes[2][0]),
        (_end, axes[2][1]),
    ]
    for panel, ax in panels:
        panel(ax, series)
        ax.grid(alpha=0.3)
        if ax.get_yscale() == "linear":
            ax.set_ylim(bottom=0)
        else:
            ax.yaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_major_formatter("{x:,.0f}")
        if ax.get_legend_handles_labels()[0]:
            ax.legend(fontsize=9, loc="lower right" if panel is _end else "best")
    figure.suptitle(
        "One fps-kernels process: synthetic kernels, two cores shared with kernels and clients", fontsize=14
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=80)
    plt.close(figure)


def size(point: Result) -> int:
    """What grows along a series."""
    return int(point["rate"] if point["series"] == "rates" else max(point["kernels"], point["clients"]))


def _lines(ax: Axes, series: Series, value: Callable[[Result], float], style: str, *, named: bool = True) -> None:
    for name, label in NAMES.items():
        if points := series[name]:
            xs, ys = [size(point) for point in points], [value(point) for point in points]
            ax.plot(xs, ys, style, color=COLOURS[name], label=label if named else None)
    ax.set_xlabel("kernels or clients")


def _cost_paced(ax: Axes, series: Series) -> None:
    _lines(ax, series, lambda point: point["paced"]["cpu_us"], "o-")
    ax.set_title("Server CPU per message, 2,000 delivered a second in all")
    ax.set_ylabel("µs of CPU per message delivered")


def _cost_flood(ax: Axes, series: Series) -> None:
    _lines(ax, series, lambda point: point["flood"]["cpu_us"], "o-")
    ax.set_title("Server CPU per message, flood of 100,000 in all")
    ax.set_ylabel("µs of CPU per message delivered")


def _echo(ax: Axes, series: Series) -> None:
    _lines(ax, series, lambda point: point["paced"]["echo"]["p50_ms"], "o-")
    _lines(ax, series, lambda point: point["paced"]["echo"]["p99_ms"], "o:", named=False)
    ax.set_yscale("log")
    ax.set_title("Echo of one more kernel, while 2,000 a second go to the others")
    ax.set_ylabel("ms (solid: p50, dotted: p99)")


def _memory(ax: Axes, series: Series) -> None:
    _lines(ax, series, lambda point: point["rss_mib"][2], "o-")
    ax.set_title("Memory of the server, all kernels and clients connected")
    ax.set_ylabel("MiB resident")


def _descriptors(ax: Axes, series: Series) -> None:
    _lines(ax, series, lambda point: point["fds"][2], "o-")
    ax.axhline(1024, color="grey", linestyle=":", label="ulimit -n of many systems: 1,024")
    ax.set_title("Open file descriptors of the server")
    ax.set_ylabel("descriptors")


def _end(ax: Axes, series: Series) -> None:
    points = series["rates"]
    ax.set_title("Where one process ends: 50 kernels, 50 clients, ever more messages")
    ax.set_xlabel("messages asked for per second")
    ax.set_ylabel("ms (echo of one more kernel)")
    points = series["rates"]
    if not points:
        return
    rates = [point["rate"] for point in points]
    ax.set_yscale("log")
    ax.plot(rates, [point["paced"]["echo"]["p99_ms"] for point in points], "o:", color="tab:red", label="echo, p99")
    ax.plot(rates, [point["paced"]["echo"]["p50_ms"] for point in points], "o-", color="tab:red", label="echo, p50")
    ax.plot([], [], "s-", color="black", label="server's CPU (right)")
    ax.plot([], [], "^-", color="tab:blue", label="delivered of what was asked for (right)")
    right = ax.twinx()
    right.plot(rates, [point["paced"]["cpu_percent"] for point in points], "s-", color="black")
    delivered = [100 * point["paced"]["delivered_per_s"] / point["rate"] for point in points]
    right.plot(rates, delivered, "^-", color="tab:blue")
    right.set_ylabel("% (of one core, of the messages)")
    right.set_ylim(0, 115)
