"""What docs/operating.md, the rules for alerts and the dashboard say of numbers: all that there are, and no others."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from fps_kernels.execution.service import ExecutionService
from fps_kernels.execution.shared_documents import SharedDocuments
from fps_kernels.metrics.execution_metrics import ExecutionMetrics

from ..support.apis import IMPORTS, PID
from ..support.kept_gateways import keeping_gateways
from ..support.notebooks import write_notebook
from ..support.programs import need

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "dashboard.json"
NAME = re.compile(r"\bfps_kernels_[a-z_]+[a-z]\b")


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bytes]:
    """What a gateway answers that keeps kernels and serves a notebook, and what a server of shared documents adds."""
    base = tmp_path_factory.mktemp("scraped")
    notebook = write_notebook(base / "notebook.ipynb", IMPORTS, PID, kernel="tiny_plain", language="python")
    registry = CollectorRegistry()
    registry.register(ExecutionMetrics(ExecutionService(cast(SharedDocuments, None))))
    with keeping_gateways(base) as gateways:
        gateway = gateways.begin("--api=notebook-http", notebook)
        httpx.get(f"{gateway.url}/pid").raise_for_status()
        yield httpx.get(f"{gateway.url}/metrics").content + generate_latest(registry)


@pytest.fixture(scope="module")
def names(scraped: bytes) -> set[str]:
    """The names of our numbers; those of histograms without what Prometheus adds."""
    return set(re.findall(r"^# TYPE (fps_kernels_\w+) ", scraped.decode(), re.MULTILINE))


def named(text: str) -> set[str]:
    """The names of our numbers in a text, without what Prometheus adds to those of histograms."""
    found = {re.sub("_(bucket|sum|count)$", "", name) for name in NAME.findall(text)}
    assert found
    return found


def test_the_page_lists_all_numbers_and_no_others(names: set[str]) -> None:
    rows = re.findall(r"^\| `(fps_kernels_\w+)` \|", (ROOT / "docs" / "operating.md").read_text(), re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == names


def test_rules_and_dashboard_name_only_numbers_that_exist(names: set[str]) -> None:
    assert named(ALERTS.read_text()) <= names
    assert named(DASHBOARD.read_text()) == names


def test_the_dashboard_has_a_place_for_each_panel() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard["panels"]]
    assert len(set(places)) == len(places) == len({panel["id"] for panel in dashboard["panels"]})


def test_prometheus_takes_the_rules() -> None:
    done = subprocess.run([need("promtool"), "check", "rules", str(ALERTS)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "SUCCESS: 10 rules found" in done.stdout


def test_prometheus_has_nothing_against_the_numbers(scraped: bytes) -> None:
    ours = b"".join(line for line in scraped.splitlines(keepends=True) if b"fps_kernels_" in line)
    done = subprocess.run([need("promtool"), "check", "metrics"], input=ours, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


FIRES = """
rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: 'fps_kernels_kernel_deaths_total{{instance="a", kernelspec="python3", reason="out of memory"}}'
        values: "0+1x20"
      - series: 'fps_kernels_kernel_start_failures_total{{instance="a", kernelspec="r"}}'
        values: "0x20"
      - series: 'fps_kernels_keeper_up{{instance="a"}}'
        values: "1x10 0x10"
    alert_rule_test:
      - {{eval_time: 20m, alertname: KernelsDoNotStart, exp_alerts: []}}
      - {{eval_time: 9m, alertname: KeeperIsGone, exp_alerts: []}}
      - eval_time: 20m
        alertname: KeeperIsGone
        exp_alerts:
          - exp_labels: {{severity: critical, instance: a}}
            exp_annotations: {{summary: "a: the process that keeps kernels does not answer"}}
      - eval_time: 20m
        alertname: KernelsRunOutOfMemory
        exp_alerts:
          - exp_labels: {{severity: warning, instance: a}}
            exp_annotations: {{summary: "a: Linux has ended 15 kernels in 15 minutes as memory ran out"}}
"""


def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    path = tmp_path / "test.yml"
    path.write_text(FIRES.format(rules=ALERTS))
    done = subprocess.run([need("promtool"), "test", "rules", str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
