"""Assignments of a JSON text to a variable, in the language of a kernel.

The text is a client's. So that nothing in it can end the literal, it is first written as printable ASCII:
JSON has an escape for every character, and means the same after it. What is left to be quoted is what the
language itself takes for special. Control characters are more than a matter of style: the bash kernel
types its code into a terminal, where DEL (which json.dumps leaves as it is) erases what comes before it,
the opening quote too.
"""

from __future__ import annotations

import json

SHELLS = {"bash", "sh", "zsh", "ksh", "dash"}
JSON_LITERALS = {"python", "r", "javascript", "typescript"}
"""Languages in which a JSON string is a literal of the same string, as nothing else is special in it."""
DECLARATIONS = {
    "scala": 'var {name}: String = ""',
    "typescript": 'var {name}: string = "";',
    "javascript": 'globalThis.{name} = "";',  # a module may not assign to a name that is not there
}
CONSTANT_MAX_CHARS = 60_000
"""A string constant of the JVM has at most 65,535 bytes (JVM specification, 4.4.7)."""


def assignment(language: str, name: str, json_text: str) -> str:
    """Code that assigns a JSON text to a variable, as a string that nothing in the text can escape from.

    language: `metadata.language_info.name`, in any case. The variable gets another spelling of the same JSON:
      `printable(json_text)`, in languages that are not known here `inert(json_text)`.
    Not promised: that a text that is not JSON keeps its meaning; it is just as harmless.
    """
    language = language.lower()
    text = printable(json_text)
    if language in SHELLS:  # a name that is not known yet cannot have spaces around its =
        return f"{name}={_shell(text)}"
    if language == "perl":  # `my`, as strict code cannot use it otherwise
        return f"my ${name} = {_single_quoted(text)};"
    if language == "ruby":
        return f"{name} = {_single_quoted(text)}"
    if language == "julia":
        return f"{name} = {json.dumps(text).replace('$', chr(92) + '$')}"
    if language == "scala":
        return f"{name} = {_scala(text)}"
    if language in JSON_LITERALS:
        return f"{name} = {json.dumps(text)}"
    return f"{name} = {json.dumps(inert(text))}"


def declaration(language: str, name: str) -> str:
    """Code to run once, before the notebook's own, so that an assignment finds the variable; "" when none is needed.

    A cell of the notebook may declare it again.
    """
    return DECLARATIONS.get(language.lower(), "").format(name=name)


def printable(json_text: str) -> str:
    """The same JSON on one line, of the characters from space to tilde.

    Whitespace that JSON allows raw is between its tokens and becomes a space; all else is in strings.
    """
    if json_text.isascii() and json_text.isprintable():  # nearly always, and at once however long it is
        return json_text
    return json_text.translate(_Printable())


def inert(json_text: str) -> str:
    """The same JSON, of letters, digits, spaces and the characters ``_+-.,:/"[]{}`` and backslash.

    Nothing that some language takes for an interpolation, a substitution or a quote: ``$(x)``, ``#{x}``, a
    backtick. None of these occurs in JSON but in strings, where it has an escape.
    """
    return printable(json_text).translate(_INERT)


class _Printable(dict[int, str]):
    """A table for str.translate that keeps what it has looked up: ten times as fast as re.sub with a function."""

    def __missing__(self, code_point: int) -> str:
        character = chr(code_point)
        plain = " " if character in "\t\n\r" else character
        self[code_point] = spelled = plain if " " <= plain <= "~" else _escape(character)
        return spelled


def _escape(character: str) -> str:
    """As in JSON: \\uXXXX, two of them beyond the Basic Multilingual Plane."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


_INERT = {ord(special): _escape(special) for special in "!#$%&'()*;<=>?@^`|~"}
"""All of printable ASCII but what `inert` lists."""


def _shell(text: str) -> str:
    """Nothing is special between single quotes but the quote, which is written outside of them."""
    return "'" + text.replace("'", "'\\''") + "'"


def _single_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _scala(text: str) -> str:
    """An ordinary literal, not in triple quotes, in which Scala 2 replaces unicode escapes before anything else.

    In an ordinary one, every backslash is doubled, and one that follows another starts no unicode escape. A long
    text is joined at run time: the compiler would fold a sum of literals into one constant.
    """
    if len(text) <= CONSTANT_MAX_CHARS:
        return json.dumps(text)
    parts = [text[at : at + CONSTANT_MAX_CHARS] for at in range(0, len(text), CONSTANT_MAX_CHARS)]
    return f"Seq({', '.join(json.dumps(part) for part in parts)}).mkString"
