"""Parameters of a notebook as code of its kernel's language: values stay values, whatever is in them. Pure.

A string is written with an escape for whatever is not printable, and for all that the language takes for more than a
character: no text ends its literal, or is evaluated within it. Characters of all alphabets stay as they are where that
is safe, as people read these cells. What a language cannot hold exactly is refused, with its reason, and so are
languages that are not listed: no rule for quoting is right in all of them.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import BadOption

MAX_SAFE_INTEGER = 2**53
"""The largest integer up to which all are exact where numbers are floats of 64 bits."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class CannotExpress(BadOption):
    """A parameter has no form in a language; the message says why."""


def _escaped(text: str, special: Mapping[str, str], escape: Callable[[int], str], *, ascii_only: bool = False) -> str:
    """A text with an escape for special characters, and for those that are not printable."""
    return "".join(
        special[char]
        if char in special
        else char
        if char.isprintable() and (char.isascii() or not ascii_only)
        else escape(ord(char))
        for char in text
    )


_COMMON = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def _u4_u8(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _utf16(code: int) -> str:
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def _braced(code: int) -> str:
    return f"\\u{{{code:x}}}"


def _octal_bytes(code: int) -> str:
    """Bytes of UTF-8 with three digits each: of hexadecimal ones some shells take as many as there are."""
    return "".join(f"\\{byte:03o}" for byte in chr(code).encode())


def _quoted(special: Mapping[str, str], escape: Callable[[int], str], **options: bool) -> Callable[[str], str]:
    table = {**_COMMON, **special}
    return lambda text: f'"{_escaped(text, table, escape, **options)}"'


def _without_nul(quote: Callable[[str], str], language: str) -> Callable[[str], str]:
    def quoted(text: str) -> str:
        if "\0" in text:
            raise CannotExpress(f"a string of {language} cannot have a NUL in it")
        return quote(text)

    return quoted


def _shell(text: str) -> str:
    """A word of bash or zsh. The kernel may type it into a terminal, with history expansion."""
    if text.isascii() and text.isprintable() and "!" not in text:
        return "'" + text.replace("'", "'\\''") + "'"
    special = {char: f"\\{ord(char):03o}" for char in "\\'!"}
    return f"$'{_escaped(text, special, _octal_bytes, ascii_only=True)}'"


def _float(nan: str, infinity: str) -> Callable[[float], str]:
    def written(value: float) -> str:
        if math.isnan(value):
            return nan
        if math.isinf(value):
            return infinity if value > 0 else f"-{infinity}"
        return repr(value)

    return written


_real = _float("NaN", "Infinity")


def _exact(language: str, largest: int = MAX_SAFE_INTEGER) -> Callable[[int], str]:
    def written(value: int) -> str:
        if abs(value) > largest:
            raise CannotExpress(f"{language} has no exact integer as large as {value}; give it as a string, with -r")
        return str(value)

    return written


@dataclass(frozen=True, slots=True)
class ParameterLanguage:
    """How a language writes values.

    null, true, false: its constants.
    string, integer, real: make literals.
    items, pairs: how lists and mappings are written, with {} for what is in them; "" where there are none.
    pair: an item of a mapping, with {key} and {value}.
    assign: sets a variable, with {name} and {value}.
    assign_declared: the same for a variable that the notebook declares itself.
    comment: begins a comment.
    separator: between items.
    name: what a variable is called.
    reserved: words that look like a name, and are none.
    nested: whether lists can be in lists.
    empty_keys: whether a key of a mapping can be empty.
    """

    label: str
    string: Callable[[str], str]
    null: str = "null"
    true: str = "true"
    false: str = "false"
    integer: Callable[[int], str] = str
    real: Callable[[float], str] = _real
    items: str = "[{}]"
    pairs: str = "{{{}}}"
    pair: str = "{key}: {value}"
    assign: str = "{name} = {value}"
    assign_declared: str = ""
    comment: str = "#"
    separator: str = ", "
    name: re.Pattern[str] = _WORD
    reserved: frozenset[str] = field(default=frozenset(), repr=False)
    nested: bool = True
    empty_keys: bool = True

    def value(self, value: Any, *, top: bool = True) -> str:
        """A value as an expression. Raises CannotExpress."""
        match value:
            case None:
                return self.null
            case bool():
                return self.true if value else self.false
            case int():
                return self.integer(value)
            case float():
                return self.real(value)
            case str():
                return self.text(value)
            case list() if self.items and (top or self.nested):
                return self.items.format(self.separator.join(self.value(one, top=False) for one in value))
            case dict() if self.pairs and (top or self.nested):
                return self.pairs.format(self.separator.join(self._pair(*pair) for pair in value.items()))
            case list() | dict():
                kind = "list" if isinstance(value, list) else "mapping"
                where = "" if top else " within a value"
                raise CannotExpress(f"{self.label} has no {kind}{where}; give it as JSON in a string, with -r")
        raise CannotExpress(f"a parameter cannot be a {type(value).__name__}")

    def text(self, text: str) -> str:
        try:
            text.encode()
        except UnicodeEncodeError as exc:
            raise CannotExpress("half of a surrogate pair is no text") from exc
        return self.string(text)

    def _pair(self, key: Any, value: Any) -> str:
        if not isinstance(key, str):
            raise CannotExpress(f"the keys of a mapping must be strings, not {key!r}")
        if not key and not self.empty_keys:
            raise CannotExpress(f"a key of {self.label} cannot be empty")
        return self.pair.format(key=self.text(key), value=self.value(value, top=False))

    def is_name(self, name: str) -> bool:
        """Whether a variable can have this name."""
        return self.name.fullmatch(name) is not None and name not in self.reserved

    def code(self, parameters: Mapping[str, Any], declared: str = "") -> str:
        """The code that sets all parameters. Raises CannotExpress, which names the parameter.

        declared: code in which the notebook gives parameters their defaults.
        """
        lines = [f"{self.comment} Parameters"]
        for name, value in parameters.items():
            if not self.is_name(name):
                raise CannotExpress(f"parameter {name!r}: no variable of {self.label} can be called so")
            known = self.assign_declared and re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", declared)
            try:
                lines.append(
                    (self.assign_declared if known else self.assign).format(name=name, value=self.value(value))
                )
            except CannotExpress as exc:
                raise CannotExpress(f"parameter {name!r}: {exc.message}") from exc
            except RecursionError as exc:
                raise CannotExpress(f"parameter {name!r}: it is nested too deeply") from exc
        return "\n".join(lines) + "\n"


def _javascript_integer(value: int) -> str:
    return str(value) if abs(value) <= MAX_SAFE_INTEGER else f"{value}n"  # a BigInt, rather than another number


def _javascript(label: str) -> ParameterLanguage:
    return ParameterLanguage(
        label,
        string=_quoted({}, _utf16),
        integer=_javascript_integer,
        pair="[{key}]: {value}",  # without the brackets, "__proto__" would be no key
        assign="var {name} = {value};",
        assign_declared="{name} = {value};",  # it may be declared by let, which var must not repeat
        comment="//",
        reserved=_words(
            "await break case catch class const continue debugger default delete do else enum export extends "
            "false finally for function if implements import in instanceof interface let new null package "
            "private protected public return static super switch this throw true try typeof var void while "
            "with yield"
        ),
    )


def _shell_language(label: str) -> ParameterLanguage:
    return ParameterLanguage(
        label,
        string=_without_nul(_shell, label),
        null="''",
        real=_float("nan", "inf"),
        items="({})",
        pairs="",
        separator=" ",
        assign="{name}={value}",
        nested=False,
        reserved=_words("if then else elif fi case esac for while until do done in function time select"),
    )


_R_STRING = _without_nul(_quoted({}, _u4_u8), "R")

LANGUAGES: Mapping[str, ParameterLanguage] = {
    "python": ParameterLanguage(
        "Python",
        string=_quoted({}, _u4_u8),
        null="None",
        true="True",
        false="False",
        real=_float('float("nan")', 'float("inf")'),
        name=re.compile(r"[^\W\d]\w*"),
        reserved=frozenset(keyword.kwlist),
    ),
    "r": ParameterLanguage(
        "R",
        string=_R_STRING,
        null="NULL",
        true="TRUE",
        false="FALSE",
        integer=_exact("R"),
        real=_float("NaN", "Inf"),
        items="list({})",
        pairs="list({})",
        pair="{key} = {value}",
        name=re.compile(r"(?:[A-Za-z]|\.(?![0-9]))[A-Za-z0-9._]*"),
        reserved=_words("if else repeat while function for next break TRUE FALSE NULL Inf NaN NA in"),
        empty_keys=False,
    ),
    "julia": ParameterLanguage(
        "Julia",
        string=_quoted({"$": "\\$"}, _u4_u8),
        null="nothing",
        real=_float("NaN", "Inf"),
        pairs="Dict({})",
        pair="{key} => {value}",
        reserved=_words(
            "baremodule begin break catch const continue do else elseif end export false finally for function "
            "global if import let local macro module quote return struct true try using while"
        ),
    ),
    "ruby": ParameterLanguage(
        "Ruby",
        string=_quoted({"#": "\\#"}, _braced),
        null="nil",
        real=_float("Float::NAN", "Float::INFINITY"),
        pair="{key} => {value}",
        name=re.compile(r"[a-z_][A-Za-z0-9_]*"),
        reserved=_words(
            "alias and begin break case class def defined do else elsif end ensure false for if in module "
            "next nil not or redo rescue retry return self super then true undef unless until when while "
            "yield"
        ),
    ),
    "javascript": _javascript("JavaScript"),
    "typescript": _javascript("TypeScript"),
    "perl": ParameterLanguage(
        "Perl",
        string=_quoted({"$": "\\$", "@": "\\@"}, lambda code: f"\\x{{{code:x}}}", ascii_only=True),
        null="undef",
        true="1",
        false="0",
        integer=_exact("Perl"),
        real=_float("'nan'+0", "(9**9**9)"),
        pair="{key} => {value}",
        assign="our ${name} = {value};",
    ),
    "php": ParameterLanguage(
        "PHP",
        string=_quoted({"$": "\\$"}, _braced),
        integer=_exact("PHP", 2**63 - 1),
        real=_float("NAN", "INF"),
        pairs="[{}]",
        pair="{key} => {value}",
        assign="${name} = {value};",
        comment="//",
        reserved=_words("this"),
    ),
    "lua": ParameterLanguage(
        "Lua",
        string=_quoted({}, _braced),
        null="nil",
        integer=_exact("Lua", 2**63 - 1),
        real=_float("(0/0)", "math.huge"),
        items="{{{}}}",
        pair="[{key}] = {value}",
        comment="--",
        reserved=_words(
            "and break do else elseif end false for function goto if in local nil not or repeat return then "
            "true until while"
        ),
    ),
    "bash": _shell_language("bash"),
    "zsh": _shell_language("zsh"),
}
"""The languages by the names that kernels have for them, in lower case."""


def parameter_language(name: str) -> ParameterLanguage:
    """Raises CannotExpress for a language that parameters cannot be written in."""
    if (language := LANGUAGES.get(name.lower())) is None:
        known = ", ".join(one.label for one in LANGUAGES.values())
        raise CannotExpress(
            f"Parameters: the kernel's language is {name[:100]!r}, in which it is not known how to write them so that "
            f"none can become code. There are {known}"
        )
    return language
