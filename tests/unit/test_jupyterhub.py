"""What JupyterHub's variables say of a server."""

from __future__ import annotations

import pytest

from fps_kernels.errors import BadOption
from fps_kernels.hosts.asphalt.lab.jupyterhub import hub_server

from ..support.cases import for_each

URL = "JUPYTERHUB_SERVICE_URL"


def test_without_a_hub_there_is_nothing_to_say() -> None:
    assert hub_server({}) is None
    assert hub_server({URL: "", "JUPYTERHUB_API_TOKEN": "t", "JUPYTERHUB_SERVICE_PREFIX": "/user/ann/"}) is None


@for_each(
    ("url", "ip", "port", "prefix"),
    [
        ("http://127.0.0.1:9000/user/ann/", "127.0.0.1", 9000, "/user/ann/"),
        ("http://0.0.0.0:8888/", "0.0.0.0", 8888, "/"),
        ("http://[::1]:8888/user/ann%40a/", "::1", 8888, "/user/ann%40a/"),
        ("http://:8888", "127.0.0.1", 8888, "/"),
        ("https://a/x", "a", 443, "/x/"),
        ("http://a", "a", 80, "/"),
    ],
)
def test_the_address_is_that_of_the_url(url: str, ip: str, port: int, prefix: str) -> None:
    found = hub_server({URL: url})
    assert found is not None
    assert (found.defaults["ip"], found.defaults["port"], found.prefix) == (ip, port, prefix)
    assert (found.defaults["port_retries"], found.defaults["allow_remote_access"]) == (0, True)
    other = hub_server({URL: url, "JUPYTERHUB_SERVICE_PREFIX": "/user/bob/named/"})
    assert other is not None
    assert other.prefix == "/user/bob/named/"


def test_the_hubs_own_tls_is_used() -> None:
    found = hub_server({URL: "https://a", "JUPYTERHUB_SSL_CERTFILE": "c", "JUPYTERHUB_SSL_CLIENT_CA": "a"})
    assert found is not None
    assert (found.defaults["certfile"], found.defaults["client_ca"]) == ("c", "a")
    assert "keyfile" not in found.defaults


@for_each("url", ["http://127.0.0.1:http/", "nothing", "ftp://a/", "http://[::1/", "http://a:70000/"])
def test_a_url_that_makes_no_sense_is_named(url: str) -> None:
    with pytest.raises(BadOption) as caught:
        hub_server({URL: url})
    assert caught.value.message.startswith(f"{URL}={url}: ")
