"""Put a kernelbench run into docs/performance.md: its table, between two markers, and its chart.

usage: python benchmarks/performance.py RUN.json [--warm FILE.json] [--document FILE] [--chart FILE]

RUN.json is what `kernelbench-run --peers js,kg,old,new,mine,direct --json RUN.json` writes; of several rounds, medians.
--warm: what `kernel_start.py --json FILE.json` wrote. The goals are those of goals.py.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from goals import DIRECT, GOALS, OURS, PEERS, WARM, Bound, Goal, Medians
from load.document import DOCS, put_between

matplotlib.use("Agg")
from matplotlib import pyplot as plt

BEGIN, END = "<!-- table of performance.py -->", "<!-- end of the table -->"
MET = {True: "yes", False: "**no**", None: "–"}


def show(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def wanted(goal: Goal) -> str:
    match goal.bound:
        case Bound.NONE:
            return "–"
        case Bound.TIMES_PEER:
            return f"≥ {goal.number:g} × jupyter_server"
        case Bound.AT_MOST_DIRECT:
            return "no more than without" if goal.number == 1 else f"≤ {goal.number:g} × without"
    return f"{goal.bound.value} {show(goal.number)}"


def table(report: dict[str, Any]) -> str:
    medians: Medians = report["medians"]
    peers = [name for name in PEERS if any(name in servers for servers in medians.values())]
    titles = ["what", "unit", "fps_kernels", "goal", "met", "× jupyter_server"]
    titles += [*(PEERS[name] for name in peers), "no server"]
    rows = [_row(titles), _row(["---" if title in ("what", "unit", "goal", "met") else "---:" for title in titles])]
    for goal in GOALS:
        better = goal.better(medians, OURS)
        cells = [goal.what, goal.unit, show(goal.value(medians, OURS)), wanted(goal), MET[goal.met(medians)]]
        cells.append("–" if better is None else f"{better:.2g}")
        rows.append(_row(cells + [show(goal.value(medians, name)) for name in (*peers, DIRECT)]))
    results = [goal.met(medians) for goal in GOALS]
    rounds, scale = report["rounds"], report["scale"]
    rows += [
        "",
        f"{results.count(True)} goals met, {results.count(False)} not. Rounds: {rounds}; messages: {scale:g} of the"
        " full number. –: not measured, or nothing to compare with.",
    ]
    return "\n".join(rows)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def draw(report: dict[str, Any], file: Path) -> None:
    """One bar for each goal: how many times better than jupyter_server; a mark where a client without a server is."""
    medians: Medians = report["medians"]
    goals = [goal for goal in reversed(GOALS) if goal.better(medians, OURS) is not None]
    figure, ax = plt.subplots(figsize=(11, 0.38 * len(goals) + 1.6), layout="constrained")
    for row, goal in enumerate(goals):
        ours, direct = goal.better(medians, OURS) or 1.0, goal.better(medians, DIRECT)
        ax.barh(row, ours - 1, left=1, color="tab:green" if ours >= 1 else "tab:red", height=0.65)
        ax.annotate(f" {ours:.2g}× ", (ours, row), va="center", ha="left" if ours >= 1 else "right", fontsize=9)
        if direct is not None:
            ax.plot(direct, row, "D", color="black", markersize=5)
    ax.plot([], [], "D", color="black", label="a client on the kernel's own ports, without a server")
    ax.axvline(1, color="black", linewidth=1)
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    ax.set_xlim(low / 1.2, high * 1.5)
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200) if low / 1.2 <= tick <= high * 1.5]
    ax.set_xticks(ticks, [f"{tick:g}×" for tick in ticks])
    ax.minorticks_off()
    ax.set_yticks(range(len(goals)), [f"{goal.what} ({goal.unit})" if goal.unit else goal.what for goal in goals])
    ax.set_xlabel("times better than jupyter_server in the same run (logarithmic; for times, CPU and memory: less)")
    ax.set_title("fps_kernels against jupyter_server")
    ax.grid(axis="x", alpha=0.3)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.09), fontsize=9)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=80)
    plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--warm", type=Path)
    parser.add_argument("--document", type=Path, default=DOCS / "performance.md")
    parser.add_argument("--chart", type=Path, default=DOCS / "images" / "performance.png")
    options = parser.parse_args()
    report = json.loads(options.run.read_text())
    if options.warm is not None:
        report["medians"]["start"][WARM] = json.loads(options.warm.read_text())
    put_between(options.document, BEGIN, END, table(report))
    draw(report, options.chart)
    return 0


if __name__ == "__main__":
    sys.exit(main())
