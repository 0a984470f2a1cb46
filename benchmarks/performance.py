"""Put a kernelbench run into docs/performance.md: its two tables, between markers, and its chart.

usage: python benchmarks/performance.py RUN.json [--warm FILE.json] [--document FILE] [--chart FILE]

RUN.json is what `kernelbench-run --peers js,kg,new,limit,direct,mine,mine-jupyter-server,mine-kept --json RUN.json`
writes; of several rounds, medians. --warm: what `kernel_start.py --json FILE.json` wrote. The goals are those of
goals.py.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from goals import GOALS, LIMIT, OURS, PEER, PEERS, WARM, Goal, Medians
from load.document import DOCS, put_between

matplotlib.use("Agg")
from matplotlib import pyplot as plt

BEGIN, END = "<!-- table of performance.py -->", "<!-- end of the table -->"
BEGIN_ALL, END_ALL = "<!-- all servers -->", "<!-- end of all servers -->"


def show(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2g}"


def _wanted(goal: Goal, number: float | None) -> str:
    return "–" if number is None else f"{'≥' if goal.more else '≤'} {number:g}"


def _met(goal: Goal, medians: Medians) -> str:
    results = goal.results(medians)
    if not results:
        return "–"
    return "yes" if all(results) else "**no**" if len(results) == 1 or not any(results) else "**in part**"


def goals_table(report: dict[str, Any]) -> str:
    """Ours in relation to jupyter_server and to the least that is possible, with the goals for that."""
    medians: Medians = report["medians"]
    titles = ["what", "unit", "fps_kernels", "× jupyter_server", "goal", "× the least", "goal", "met"]
    rows = [_row(titles), _row(["---:" if number in (2, 3, 5) else "---" for number in range(len(titles))])]
    for goal in GOALS:
        ours = show(goal.value(medians, OURS))
        if goal.number is not None:
            ours += f" ({_wanted(goal, goal.number)})"
        cells = [goal.what, goal.unit, ours, _ratio(goal.ratio(medians, PEER)), _wanted(goal, goal.to_peer)]
        cells += [_ratio(goal.ratio(medians, goal.least)), _wanted(goal, goal.to_least), _met(goal, medians)]
        rows.append(_row(cells))
    results = [result for goal in GOALS for result in goal.results(medians)]
    met = f"{results.count(True)} goals met, {results.count(False)} not."
    rows += ["", f"{met} –: not measured, or nothing to compare with."]
    return "\n".join(rows)


def servers_table(report: dict[str, Any]) -> str:
    """What each server reached."""
    medians: Medians = report["medians"]
    names = [name for name in PEERS if any(name in servers for servers in medians.values())]
    rows = [_row(["what", "unit", *(PEERS[name] for name in names)]), _row(["---", "---", *["---:"] * len(names)])]
    for goal in GOALS:
        rows.append(_row([goal.what, goal.unit, *(show(goal.value(medians, name)) for name in names)]))
    rows += ["", f"Rounds: {report['rounds']}; messages: {report['scale']:g} of the full number."]
    return "\n".join(rows)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def draw(report: dict[str, Any], file: Path) -> None:
    """One bar for each goal: how many times better than jupyter_server; a mark where the least is."""
    medians: Medians = report["medians"]
    goals = [goal for goal in reversed(GOALS) if goal.better(medians, OURS) is not None]
    figure, ax = plt.subplots(figsize=(11, 0.38 * len(goals) + 1.6), layout="constrained")
    marks = {True: ("D", "the limit: a proxy in C that keeps nothing"), False: ("o", "no server at all")}
    for row, goal in enumerate(goals):
        ours, least = goal.better(medians, OURS) or 1.0, goal.better(medians, goal.least)
        ax.barh(row, ours - 1, left=1, color="tab:green" if ours >= 1 else "tab:red", height=0.65)
        ax.annotate(f"{ours:.2g}×", (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=9)
        if least is not None:
            ax.plot([ours, least], [row, row], color="black", linewidth=1, linestyle=":")
            ax.plot(least, row, marks[goal.least == LIMIT][0], color="black", markersize=5)
    for marker, label in marks.values():
        ax.plot([], [], marker, color="black", label=label)
    ax.axvline(1, color="black", linewidth=1)
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    ax.set_xlim(low / 1.2, high * 1.5)
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200) if low / 1.2 <= tick <= high * 1.5]
    ax.set_xticks(ticks, [f"{tick:g}×" for tick in ticks])
    ax.minorticks_off()
    ax.set_yticks(range(len(goals)), [f"{goal.what} ({goal.unit})" if goal.unit else goal.what for goal in goals])
    ax.set_xlabel("times better than jupyter_server in the same run (logarithmic; for times, CPU and memory: less)")
    ax.set_title("fps_kernels between jupyter_server and the least that is possible")
    ax.grid(axis="x", alpha=0.3)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.09), fontsize=9, ncols=2)
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
    put_between(options.document, BEGIN, END, goals_table(report))
    put_between(options.document, BEGIN_ALL, END_ALL, servers_table(report))
    draw(report, options.chart)
    return 0


if __name__ == "__main__":
    sys.exit(main())
