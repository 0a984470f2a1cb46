"""What `/metrics` says, as a dictionary."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

Numbers = dict[str, float]
"""By the name of a number and the values of its labels, in the order of their names, as in `name{value,value}`."""
PREFIX = "fps_kernels_"


def parsed(response: httpx.Response) -> Numbers:
    """What a scrape has answered, without the buckets of histograms."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/plain")
    found = {}
    for family in text_string_to_metric_families(response.text):
        assert family.documentation
        for sample in family.samples:
            labels = ",".join(value for _, value in sorted(sample.labels.items()))
            if not sample.name.endswith("_bucket"):
                found[f"{sample.name}{{{labels}}}".removesuffix("{}")] = sample.value
    return found


async def numbers(http: httpx.AsyncClient) -> Numbers:
    """What a scrape says."""
    return parsed(await http.get("/metrics"))


def grown(before: Numbers, after: Numbers) -> Numbers:
    """Which of our numbers have changed, without their prefix, and by how much."""
    return {
        name.removeprefix(PREFIX): after[name] - before.get(name, 0.0)
        for name in after
        if name.startswith(PREFIX) and after[name] != before.get(name, 0.0)
    }
