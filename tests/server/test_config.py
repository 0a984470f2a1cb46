"""The configuration: a wrong value is told in one line that names the option."""

from __future__ import annotations

from typing import Any, get_type_hints

import pytest
from pydantic import ValidationError

from fps_kernels.hosts.asphalt.config import KernelsConfig
from fps_kernels.hosts.jupyverse.configuration import InvalidConfiguration
from fps_kernels.options import OPTIONS, KernelsOptions


def refused(**values: Any) -> str:
    with pytest.raises(InvalidConfiguration) as caught:
        KernelsConfig.parse(values)
    return caught.value.message


def test_defaults() -> None:
    config = KernelsConfig.parse({})
    assert config.default_kernel == "python3"
    assert config.max_kernels is None
    assert config.startup_timeout_s == 60
    assert config.shutdown_wait_time_s == 5
    assert config.transport_encryption == "auto"
    assert config.verify_signatures is True
    assert config.allowed_message_types is None
    assert config.allow_external_kernels is False


def test_values_as_a_command_line_gives_them() -> None:
    config = KernelsConfig.parse({"startup_timeout_s": "7.5", "max_kernels": "3", "verify_signatures": "false"})
    assert (config.startup_timeout_s, config.max_kernels, config.verify_signatures) == (7.5, 3, False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_kernels", -1),
        ("max_kernels", "many"),
        ("startup_timeout_s", 0),
        ("startup_timeout_s", "soon"),
        ("startup_timeout_s", None),
        ("start_answer_s", -1),
        ("shutdown_wait_time_s", -0.1),
        ("restart_limit", -1),
        ("restart_limit", 1.5),
        ("restart_window_s", 0),
        ("transport_encryption", "perhaps"),
        ("keep_kernels", "sometimes"),
        ("orphan_timeout_s", -1),
        ("state_dir", 5),
        ("verify_signatures", "perhaps"),
        ("allow_origin", "http://example.org"),
        ("allowed_message_types", "execute_request"),
        ("client_env", {"A": 1}),
        ("default_kernel", ["python3"]),
        ("root_dir", 5),
        ("external_connection_dir", []),
        ("default_kernel", {"text": "two\nlines"}),
    ],
)
def test_a_wrong_value_is_one_line_that_names_option_and_value(name: str, value: Any) -> None:
    message = refused(**{name: value})
    assert message.startswith(f"kernels.{name}: ")
    assert message.endswith(f"not {value!r}")
    assert "\n" not in message


def test_an_unknown_option_is_named() -> None:
    assert refused(startup_timeout=5) == "kernels.startup_timeout: there is no such option"


def test_every_wrong_option_is_named_in_the_same_line() -> None:
    message = refused(max_kernels=-1, nonsense=1)
    assert "kernels.max_kernels: " in message
    assert "kernels.nonsense: there is no such option" in message
    assert "\n" not in message


def test_an_item_of_a_list_is_named_by_its_place() -> None:
    assert refused(allow_origin=["http://example.org", 5]).startswith("kernels.allow_origin.1: ")


@pytest.mark.parametrize("value", [float("nan"), "nan"])
@pytest.mark.parametrize("name", ["startup_timeout_s", "start_answer_s", "shutdown_wait_time_s", "restart_window_s"])
def test_a_time_is_a_number(name: str, value: Any) -> None:
    assert refused(**{name: value}).startswith(f"kernels.{name}: ")


def test_every_option_is_described() -> None:
    assert [name for name, field in KernelsConfig.model_fields.items() if not field.description] == []


def test_the_options_are_those_of_the_configuration() -> None:
    of_jupyverse = {"require_yjs", "allow_external_kernels", "external_connection_dir"}
    assert set(OPTIONS) == set(KernelsConfig.model_fields) - of_jupyverse
    types = get_type_hints(KernelsOptions)
    assert types.items() <= get_type_hints(KernelsConfig).items()
    assert KernelsConfig().options() == KernelsOptions()
    changed: dict[str, Any] = {"max_kernels": 3, "allow_origin": ["*"]}
    assert KernelsConfig(**changed).options() == KernelsOptions(**changed)


@pytest.mark.parametrize("value", [-1, 0, 0.5, 1, float("inf"), float("nan"), None])
@pytest.mark.parametrize("name", sorted(set(OPTIONS) - {"prewarm"}))  # has bounds within: the gateway's trait has them
def test_options_have_the_bounds_of_the_configuration(name: str, value: Any) -> None:
    try:
        KernelsConfig(**{name: value})
        expected = None
    except ValidationError as exc:
        [error, *_] = exc.errors()
        if error["type"] not in ("greater_than", "greater_than_equal"):
            return  # of its type, which the bounds do not look at
        expected = error["msg"].removeprefix("Input ")
    assert OPTIONS[name].violation(value) == expected
