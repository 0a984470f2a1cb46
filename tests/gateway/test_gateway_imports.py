"""What the headless gateway imports: nothing that it does not need."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import httpx

from ..support.gateways import gateways

NOT_FOR_THE_GATEWAY = {
    "asphalt": "the gateway has one component, and starts and ends that itself",
    "fastapi": "0.4 s; for personalities that use it",
    "jupyverse_api": "imports fastapi, pydantic and asphalt",
    "pydantic": "0.2 s; the command's options are traits, which are checked by themselves",
    "httpx": "for what makes requests",
    "IPython": "3 MiB; jupyter_client asks it for a folder that we know",
    "jsonschema": "for notebooks",
    "nbformat": "for notebooks",
    "pycrdt": "for shared documents",
    "ruamel": "for the options of `fps-kernels lab`",
    "fps_kernels.hosts": "others serve the kernels there",
    "fps_kernels.kernels.external_folder": "for Jupyverse: the gateway has no option for it",
    "fps_kernels.execution.service": "for shared documents",
    "fps_kernels.gateway.fastapi_app": "needs fastapi",
    "fps_kernels.notebook_http": "another personality",
}


def test_the_headless_gateway_starts_without_what_it_does_not_need(tmp_path: Path) -> None:
    with gateways(tmp_path) as begin:
        # stdin: in a process of its own, which does not begin with what the nursery has imported.
        gateway = begin(env={"PYTHONPROFILEIMPORTTIME": "1"}, stdin=subprocess.DEVNULL)

        def imported() -> set[str]:
            names = re.findall(r"^import time: .*\| +([\w.]+)$", gateway.log, re.MULTILINE)
            return {".".join(name.split(".")[:depth]) for name in names for depth in range(1, 5)}

        assert httpx.get(f"{gateway.url}/api", trust_env=False).status_code == 200
        assert "jupyter_client" not in imported(), "it takes 0.15 s, and is for kernels and kernelspecs"
        assert httpx.get(f"{gateway.url}/api/kernelspecs", trust_env=False).status_code == 200
        assert {"fps_kernels.api.routes", "jupyter_client"} <= imported()
        assert {name: why for name, why in NOT_FOR_THE_GATEWAY.items() if name in imported()} == {}

        assert "/api/kernels" in httpx.get(f"{gateway.url}/openapi.json", trust_env=False, timeout=30).json()["paths"]
        for path in ("/docs", "/docs/static/swagger-ui.css", "/api/swagger.json", "/_api/activity"):
            assert httpx.get(gateway.url + path, trust_env=False, timeout=30).status_code == 200
        assert "swagger_ui_bundle" in imported()
        assert {name: why for name, why in NOT_FOR_THE_GATEWAY.items() if name in imported()} == {}
