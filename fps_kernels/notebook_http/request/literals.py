"""The languages of kernels, and how a JSON text is assigned to a variable in each of them. Pure.

The text comes from a client, and nothing in it may end the literal. So it is first written as printable ASCII: JSON
has an escape for every character, with which the text means the same. What remains to be quoted is what the language
itself treats as special. Control characters are more than a matter of style: the bash kernel types its code into a
terminal, where DEL (which json.dumps does not escape) erases what comes before it, even the opening quote.

There is no form for languages that are not listed: a list of characters that are harmless everywhere cannot be right.
In Tcl and Raku, brackets and braces within double quotes run code, and JSON cannot do without them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Language:
    """How code of a language sets a variable.

    quote: makes a literal of printable ASCII.
    assign_code, append_code: with {name} and {literal}; the second one adds to what the first one has set.
    read_code: with {name} and {path}, a literal: sets the variable to the content of a file in ASCII. It fails, in the
      eyes of the kernel, if the file cannot be read.
    declare_code: with {name}: what must be run before the first assignment, if anything. The notebook may declare the
      variable again.
    """

    name: str
    quote: Callable[[str], str]
    assign_code: str
    append_code: str
    read_code: str
    declare_code: str = ""

    def assign(self, name: str, text: str) -> str:
        """Code that sets the variable to printable(text)."""
        return self.assign_code.format(name=name, literal=self.quote(printable(text)))

    def append(self, name: str, text: str) -> str:
        """Code that adds printable(text) to the variable."""
        return self.append_code.format(name=name, literal=self.quote(printable(text)))

    def read(self, name: str, path: str) -> str:
        """Code that sets the variable to the content of a file. path: in printable ASCII."""
        return self.read_code.format(name=name, path=self.quote(path))

    def declare(self, name: str) -> str:
        """Code that declares the variable; "" when none is needed."""
        return self.declare_code.format(name=name)


def printable(json_text: str) -> str:
    """The same JSON on one line, in the characters from space to tilde.

    Unescaped whitespace can only be between tokens, and becomes a space; all other characters are in strings.
    """
    if json_text.isascii() and json_text.isprintable():  # nearly always, and fast even for long texts
        return json_text
    return json_text.translate(_Printable())


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


def _double_quoted(text: str) -> str:
    """A literal in double quotes, for languages in which only the quote and the backslash are special in it."""
    return json.dumps(text)


def _julia(text: str) -> str:
    return json.dumps(text).replace("$", "\\$")


def _single_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _shell(text: str) -> str:
    """A literal in single quotes, where only the quote itself is special: it is written outside of them."""
    return "'" + text.replace("'", "'\\''") + "'"


def _octave(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _tcl(text: str) -> str:
    """A literal in double quotes, with an escape for all that means something anywhere in Tcl.

    Not \\xXX: before Tcl 8.6 it takes more than two digits.
    """
    return '"' + text.translate(_TCL) + '"'


_TCL = {ord(special): f"\\u{ord(special):04x}" for special in "!\"#$%&'()*;<=>?@[\\]^`{|}~"}

CONSTANT_MAX_CHARS = 60_000
"""The longest string constant that is written; the JVM allows 65,535 bytes (JVM specification, 4.4.7)."""


def _scala(text: str) -> str:
    """An ordinary literal; a long text is joined at run time, as the compiler would fold a sum of literals.

    Not a literal in triple quotes: there Scala 2 replaces Unicode escapes before anything else. In an ordinary literal
    every backslash is doubled, and a backslash after another one does not start a Unicode escape.
    """
    if len(text) <= CONSTANT_MAX_CHARS:
        return json.dumps(text)
    parts = [text[at : at + CONSTANT_MAX_CHARS] for at in range(0, len(text), CONSTANT_MAX_CHARS)]
    return f"Seq({', '.join(json.dumps(part) for part in parts)}).mkString"


def _shell_language(name: str) -> Language:
    """A shell: no spaces around the =, and quotes that stand next to each other are one word."""
    return Language(name, _shell, "{name}={literal}", '{name}="${name}"{literal}', "{name}=$(cat {path})")


_SUPPORTED = (
    Language(
        "python",
        _double_quoted,
        "{name} = {literal}",
        "{name} += {literal}",
        'with open({path}, encoding="ascii") as {name}: {name} = {name}.read()',
    ),
    Language(
        "r",
        _double_quoted,
        "{name} = {literal}",
        "{name} = paste0({name}, {literal})",
        "{name} = readChar({path}, file.size({path}), useBytes = TRUE)",
    ),
    Language("julia", _julia, "{name} = {literal}", "{name} = {name} * {literal}", "{name} = read({path}, String)"),
    Language(
        "scala",
        _scala,
        "{name} = {literal}",
        "{name} = {name} + {literal}",
        '{name} = new String(java.nio.file.Files.readAllBytes(java.nio.file.Paths.get({path})), "US-ASCII")',
        'var {name}: String = ""',
    ),
    Language(
        "javascript",
        _double_quoted,
        "{name} = {literal}",
        "{name} += {literal}",
        '{name} = globalThis.Deno ? Deno.readTextFileSync({path}) : require("fs").readFileSync({path}, "latin1")',
        'globalThis.{name} = "";',  # a module must not assign to an undeclared name
    ),
    Language(
        "typescript",
        _double_quoted,
        "{name} = {literal}",
        "{name} += {literal}",
        '{name} = "Deno" in globalThis ? globalThis["Deno"].readTextFileSync({path}) : '
        'require("fs").readFileSync({path}, "latin1")',
        'var {name}: string = "";',
    ),
    Language(
        "perl",  # `my`, because strict code could not use the variable otherwise
        _single_quoted,
        "my ${name} = {literal};",
        "${name} .= {literal};",
        "my ${name} = do {{ local $/; open(my $file, '<', {path}) or die {path}; <$file> }};",
    ),
    Language(
        "ruby",
        _single_quoted,
        "{name} = {literal}",
        "{name} = {name} + {literal}",
        "{name} = File.read({path})",
    ),
    Language(
        "tcl",
        _tcl,
        "set {name} {literal}",
        "append {name} {literal}",
        "set {name} [open {path}]; set {name} [read ${name}][close ${name}]",
    ),
    Language(
        "lua",
        _double_quoted,
        "{name} = {literal}",
        "{name} = {name} .. {literal}",
        'do local file = assert(io.open({path}, "rb")); {name} = file:read("*a"); file:close() end',
    ),
    Language(
        "php",
        _single_quoted,
        "${name} = {literal};",
        "${name} .= {literal};",
        "if ((${name} = file_get_contents({path})) === false) throw new \\RuntimeException({path});",
    ),
    Language(
        "octave",
        _octave,
        "{name} = {literal};",
        "{name} = [{name} {literal}];",
        "{name} = fileread({path});",
    ),
    *map(_shell_language, ("bash", "sh", "zsh", "ksh", "dash")),
)
LANGUAGES = {language.name: language for language in _SUPPORTED}
"""All languages that a kernel may have, by the names that kernels have for them, in lower case."""
