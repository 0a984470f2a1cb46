"""The options of the kernels as traits, for programs that are configured as Jupyter applications are."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from traitlets import Bool, CaselessStrEnum, Dict, Float, Instance, Integer, List, TraitType, Unicode, Union

from .options import OPTIONS, Option


def kernels_option(name: str) -> Any:
    """A trait for an option of the kernels: with its type, default and help."""
    return option_trait(OPTIONS[name])


def option_trait(option: Option) -> Any:
    """A trait for an option."""
    keywords: dict[str, Any] = {"config": True, "help": option.help}
    trait: TraitType[Any, Any]
    if type[Any] in get_args(option.type):  # a class, or where it is found
        trait = Union([Unicode(), Instance(type)], default_value=option.default, **keywords)
    elif any(get_origin(one) is dict for one in get_args(option.type)):  # a number, or one for each name
        trait = Union([Integer(), Dict(Integer(), key_trait=Unicode())], default_value=option.default, **keywords)
    elif get_origin(option.type) is Literal:
        trait = CaselessStrEnum(get_args(option.type), option.default, **keywords)
    elif isinstance(option.default, bool):
        trait = Bool(option.default, **keywords)
    elif isinstance(option.default, float):
        trait = Float(option.default, **keywords)
    elif isinstance(option.default, int):
        trait = Integer(option.default, **keywords)
    elif isinstance(option.default, list):
        trait = List(Unicode(), option.default, **keywords)
    elif option.default is None:
        trait = Integer(None, allow_none=True, **keywords)
    else:
        trait = Unicode(option.default, **keywords)
    return trait.tag(kernels_option=option.name, default_text=option.default_text)
