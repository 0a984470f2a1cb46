"""Assignments of a JSON text to a variable, in the language of a kernel. Pure.

The text comes from a client, and nothing in it may end the literal. So it is first written as printable ASCII: JSON
has an escape for every character, with which the text means the same. What remains to be quoted is what the language
itself treats as special. Control characters are more than a matter of style: the bash kernel types its code into a
terminal, where DEL (which json.dumps does not escape) erases what comes before it, even the opening quote.
"""

from __future__ import annotations

import json

SHELLS = {"bash", "sh", "zsh", "ksh", "dash"}
"""Languages with the quotes of a shell."""
JSON_LITERALS = {"python", "r", "javascript", "typescript"}
"""Languages in which a JSON string is a literal of the same string: nothing else is special in it."""
DECLARATIONS = {
    "scala": 'var {name}: String = ""',
    "typescript": 'var {name}: string = "";',
    "javascript": 'globalThis.{name} = "";',  # a module must not assign to an undeclared name
}
"""The declarations of a variable in languages that need one."""
CONSTANT_MAX_CHARS = 60_000
"""The longest string constant that is written; the JVM allows 65,535 bytes (JVM specification, 4.4.7)."""


def assignment(language: str, name: str, json_text: str) -> str:
    """Code that assigns a JSON text to a variable, as a string that nothing in the text can escape from.

    language: the notebook's `metadata.language_info.name`, in any case.
    name: the name of the variable. Its value is another spelling of the same JSON: `printable(json_text)`, or
      `inert(json_text)` in languages that are not known here.
    A text that is not JSON is as harmless, but may not keep its meaning.
    """
    language = language.lower()
    text = printable(json_text)
    if language in SHELLS:  # a shell allows no spaces around the =
        return f"{name}={_shell(text)}"
    if language == "perl":  # `my`, because strict code could not use the variable otherwise
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
    """Code that declares the variable, to be run before the first assignment; "" when none is needed.

    The notebook may declare it again.
    """
    return DECLARATIONS.get(language.lower(), "").format(name=name)


def printable(json_text: str) -> str:
    """The same JSON on one line, in the characters from space to tilde.

    Unescaped whitespace can only be between tokens, and becomes a space; all other characters are in strings.
    """
    if json_text.isascii() and json_text.isprintable():  # nearly always, and fast even for long texts
        return json_text
    return json_text.translate(_Printable())


def inert(json_text: str) -> str:
    """The same JSON, in letters, digits, spaces, the characters ``_+-.,:/"[]{}`` and backslash.

    These have nothing that a language could take for an interpolation, a substitution or a quote, such as ``$(x)``,
    ``#{x}`` or a backtick: outside strings JSON has no such characters, and in strings they are escaped.
    """
    return printable(json_text).translate(_INERT)


class _Printable(dict[int, str]):
    """A table for str.translate that remembers what it has looked up: ten times as fast as re.sub with a function."""

    def __missing__(self, code_point: int) -> str:
        character = chr(code_point)
        plain = " " if character in "\t\n\r" else character
        self[code_point] = spelled = plain if " " <= plain <= "~" else _escape(character)
        return spelled


def _escape(character: str) -> str:
    """The escape of a character in JSON: \\uXXXX, twice for characters beyond the Basic Multilingual Plane."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


_INERT = {ord(special): _escape(special) for special in "!#$%&'()*;<=>?@^`|~"}
"""The printable ASCII characters that `inert` escapes."""


def _shell(text: str) -> str:
    """A literal in single quotes, where only the quote itself is special: it is written outside of them."""
    return "'" + text.replace("'", "'\\''") + "'"


def _single_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _scala(text: str) -> str:
    """An ordinary literal; a long text is joined at run time, as the compiler would fold a sum of literals.

    Not a literal in triple quotes: there Scala 2 replaces Unicode escapes before anything else. In an ordinary literal
    every backslash is doubled, and a backslash after another one does not start a Unicode escape.
    """
    if len(text) <= CONSTANT_MAX_CHARS:
        return json.dumps(text)
    parts = [text[at : at + CONSTANT_MAX_CHARS] for at in range(0, len(text), CONSTANT_MAX_CHARS)]
    return f"Seq({', '.join(json.dumps(part) for part in parts)}).mkString"
