"""The pages that are made when the site is built have everything that there is, and nothing else."""

from __future__ import annotations

import re

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.restarter import KernelRestarter
from jupyter_server.serverapp import ServerApp
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.kernelmanager import MappingKernelManager
from traitlets.config import Configurable

from fps_kernels.gateway.config.gateway_options import KernelGatewayApp
from fps_kernels.gateway.config.traits import CLASSES, WITHOUT_MEANING
from fps_kernels.gateway.endpoint_docs import OPERATIONS
from fps_kernels.hosts.asphalt.lab.lab_parser import parser
from fps_kernels.hosts.jupyter_server.hosted_options import HOSTED_OPTIONS
from fps_kernels.hosts.jupyverse.configuration import HOST_OPTIONS
from fps_kernels.options import OPTIONS

from ..support.pages import page_text, site_hook

CONFIGURATION = page_text("docs/configuration.md")
REST = page_text("docs/rest.md")
THEIRS = {
    cls.__name__: cls
    for cls in (
        KernelManager,
        KernelProvisionerFactory,
        KernelRestarter,
        KernelSpecManager,
        MappingKernelManager,
        ServerApp,
        ZMQChannelsWebsocketConnection,
    )
} | {"MultiKernelManager": MappingKernelManager}
JUPYTER_SERVERS_NAMES = site_hook()["configuration_reference"].JUPYTER_SERVERS_NAMES


@pytest.mark.parametrize("name", [*OPTIONS, *HOST_OPTIONS])
def test_each_option_of_kernels_has_an_entry(name: str) -> None:
    assert f"\n#### `{name}` {{ #{name} }}\n" in CONFIGURATION
    assert f"`--set kernels.{name}=…`" in CONFIGURATION


@pytest.mark.parametrize("name", HOSTED_OPTIONS)
def test_each_option_of_a_jupyter_server_is_there(name: str) -> None:
    assert f"`--FpsMappingKernelManager.{name}=…`" in CONFIGURATION


@pytest.mark.parametrize("cls", [KernelGatewayApp, *CLASSES])
def test_each_option_of_the_gateway_is_there_with_its_variable(cls: type[Configurable]) -> None:
    for name, trait in cls.class_own_traits(config=True).items():
        if name not in WITHOUT_MEANING:
            assert f"`--{cls.__name__}.{name}=…`" in CONFIGURATION, name
            assert not (variable := trait.metadata.get("env")) or f"`{variable}`" in CONFIGURATION, name


def test_each_option_of_lab_is_there() -> None:
    words = {action.option_strings[-1] for action in parser()._actions if action.option_strings} - {"--help"}
    assert len(words) > 25
    for action in parser()._actions:
        names = [word for word in action.option_strings if word.startswith("--")]
        assert not names or names[0] == "--help" or re.search(rf"`{names[0]}[ `]", CONFIGURATION), names


@pytest.mark.parametrize("name", JUPYTER_SERVERS_NAMES.values())
def test_jupyter_server_has_what_the_page_says_that_it_has(name: str) -> None:
    cls, _, option = name.partition(".")
    assert option in THEIRS[cls].class_trait_names(config=True)


def test_names_are_ours() -> None:
    assert set(JUPYTER_SERVERS_NAMES) <= {*OPTIONS, *HOST_OPTIONS}


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_each_endpoint_has_a_part_with_an_example(method: str, path: str) -> None:
    part = REST.split(f"\n### {method} {path}\n", 1)[1].split("\n### ", 1)[0]
    assert OPERATIONS[method, path].summary in part
    assert "```console\n$ " in part
    assert "curl" in part
    for status in OPERATIONS[method, path].errors:
        assert f"| error | {status} |" in part


def test_each_link_of_the_reference_leads_to_a_shape() -> None:
    for name in set(re.findall(r"\]\(#(\w+)\)", REST)):
        assert re.search(rf"^### {name}$", REST, re.MULTILINE | re.IGNORECASE), name
