"""Language packs of JupyterLab: `fps-kernels lab` lists and has them as `jupyter lab` does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ..support.gateways import Gateway
from ..support.ports import free_port
from ..support.stock import OPEN, StockServer
from ..support.venvs import install_beside

PACKS = ("jupyterlab-language-pack-fr-FR", "jupyterlab-language-pack-de-DE")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, StockServer]]:
    """Both, of a user who has chosen French."""
    base = tmp_path_factory.mktemp("languages")
    chosen = base / "config" / "lab" / "user-settings" / "@jupyterlab" / "translation-extension"
    chosen.mkdir(parents=True)
    (chosen / "plugin.jupyterlab-settings").write_text(json.dumps({"locale": "fr_FR"}))
    env = install_beside(base / "packs", *PACKS) | {"JUPYTER_CONFIG_DIR": str(base / "config")}
    stock = StockServer(base / "stock", *OPEN, program="jupyter-lab", env=env)
    options = ("--port", str(free_port()), "--no-token", "--set", "kernels.prewarm=0")
    ours = Gateway(base / "ours", "lab", *options, env=env)
    try:
        ours.wait_ready()
        stock.wait_ready(240)
        yield ours, stock
    finally:
        ours.stop()
        stock.stop()


def ask(server: Gateway | StockServer, path: str) -> tuple[int, Any]:
    answer = httpx.get(server.url + path, timeout=60, trust_env=False)
    return answer.status_code, answer.json()


@pytest.mark.parametrize("path", ["", "/", "/fr_FR", "/de_DE", "/default", "/en", "/es_ES", "/fr", "/xx_XX"])
def test_packs_are_those_of_jupyter_lab(pair: tuple[Gateway, StockServer], path: str) -> None:
    ours, stock = (ask(server, f"/lab/api/translations{path}") for server in pair)
    assert ours == stock
    assert ours[0] == 200
    if path == "":
        assert {"de_DE", "en", "fr_FR"} <= set(ours[1]["data"])
        assert ours[1]["data"]["de_DE"]["displayName"] == "Allemand (Allemagne)"
    if path == "/fr_FR":
        assert ours[1]["data"]["jupyterlab"]["Close Tab"] == ["Fermer l'onglet"]


@pytest.mark.parametrize("plugin", ["@jupyterlab/apputils-extension:themes", "@jupyterlab/terminal-extension:plugin"])
def test_settings_have_titles_in_the_language_of_the_user(pair: tuple[Gateway, StockServer], plugin: str) -> None:
    ours, stock = (ask(server, f"/lab/api/settings/{plugin}") for server in pair)
    assert (ours[0], ours[1]["schema"]) == (stock[0], stock[1]["schema"])
    assert ours[1]["schema"]["title"] in ("Thème", "Terminal")
