"""Scripts for bash, zsh and fish that complete the words of commands. Pure.

They are made once and hold all words, so that a press of the key starts no Python; only names of kernels are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

from .shell_words import Kind, ShellCommand, ShellOption

KERNELS = "fps-kernels completion kernels 2>/dev/null"
"""Prints the names of kernelspecs."""
MAX_HELP_CHARS = 90


def _quoted(text: str) -> str:
    """A text as one word of any of the shells."""
    return "'" + text.replace("'", "'\\''") + "'"


def _short(text: str) -> str:
    return text if len(text) <= MAX_HELP_CHARS else f"{text[: MAX_HELP_CHARS - 3]}..."


# --- bash ----------------------------------------------------------------------------------------------------------

_BASH = """\
# bash completion of fps-kernels: eval "$(fps-kernels completion bash)"
_fps_kernels() {
    local IFS=$'\\n' cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command='' options='' kind=''
    COMPREPLY=()
    if [[ $cur == = ]]; then  # bash takes --name=value for three words
        cur=''
    elif [[ $prev == = ]]; then
        prev=${COMP_WORDS[COMP_CWORD-2]}
    fi
    if (( COMP_CWORD > 1 )); then
        case ${COMP_WORDS[1]} in
            @commands@) command=${COMP_WORDS[1]} ;;
        esac
    fi
    case "$command $prev" in
@values@
    esac
    if [[ -z $kind ]]; then
        case $command in
@options@
        esac
        if [[ $cur == -* ]]; then
            COMPREPLY=($(compgen -W "$options" -- "$cur"))
            [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace
            return
        fi
    fi
    case $kind in
        file) compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur")) ;;
        folder) compopt -o filenames; COMPREPLY=($(compgen -d -- "$cur")) ;;
        notebook)
            compopt -o filenames
            COMPREPLY=($(compgen -f -X '!*.ipynb' -- "$cur") $(compgen -d -- "$cur"))
            ;;
        kernel) COMPREPLY=($(compgen -W "$(@kernels@)" -- "$cur")) ;;
        words:*) COMPREPLY=($(compgen -W "${kind#words:}" -- "$cur")) ;;
    esac
}
complete -F _fps_kernels fps-kernels jupyter-fps-kernels
"""


def bash(commands: Sequence[ShellCommand]) -> str:
    """The script for bash; it needs none of the package bash-completion."""
    names = [command.name for command in commands if command.name]
    values, options = [], []
    for command in commands:
        for option in command.options:
            if option.values:
                patterns = "|".join(f"{_quoted(f'{command.name} {word}')}" for word in option.words)
                values.append(f"        {patterns}) kind={_bash_kind(option.kind, option.choices)} ;;")
        words = [_bash_word(word, option) for option in command.options for word in option.words]
        own = _bash_kind(command.kind, command.choices) if command.name else _bash_kind(Kind.TEXT, names)
        if not command.name:
            own = f"text; (( COMP_CWORD == 1 )) && kind={own}"
        options.append(
            f"            {_quoted(command.name)}) options=$'{chr(92)}n'{_quoted(chr(10).join(words))}; kind={own} ;;"
        )
    return (
        _BASH.replace("@commands@", "|".join(names))
        .replace("@values@", "\n".join(values))
        .replace("@options@", "\n".join(options))
        .replace("@kernels@", KERNELS)
    )


def _bash_word(word: str, option: ShellOption) -> str:
    return f"{word}=" if "." in word and option.values else word  # options of classes have their value in the same word


def _bash_kind(kind: Kind, choices: Sequence[str]) -> str:
    return _quoted("words:" + "\n".join(choices)) if choices else kind.value


# --- zsh -----------------------------------------------------------------------------------------------------------

_ZSH_ACTIONS = {
    Kind.TEXT: " ",
    Kind.FILE: "_files",
    Kind.FOLDER: "_files -/",
    Kind.NOTEBOOK: '_files -g "*.ipynb(-.)"',
    Kind.KERNEL: "_fps_kernels_kernels",
}
_ZSH = """\
#compdef fps-kernels jupyter-fps-kernels
# zsh completion of fps-kernels: source <(fps-kernels completion zsh), after compinit
_fps_kernels_kernels() {
    local -a names
    names=(${(f)"$(@kernels@)"})
    compadd -a names
}
_fps_kernels() {
    local -a commands
    commands=(
@commands@
    )
    if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then
        _describe -t commands command commands
        return
    fi
    case $words[2] in
@cases@
    esac
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _fps_kernels "$@"
else
    compdef _fps_kernels fps-kernels jupyter-fps-kernels
fi
"""


def zsh(commands: Sequence[ShellCommand]) -> str:
    """The script for zsh, to be sourced or to be a file of $fpath."""
    described = [f"        {_quoted(f'{one.name}:{one.help}')}" for one in commands if one.name]
    cases = []
    for command in sorted(commands, key=lambda one: not one.name):  # the gateway's pattern, which all match, comes last
        specs = [_quoted(spec) for option in command.options for spec in _zsh_specs(option)]
        if command.name:
            specs.append(_quoted(f"*: :{_zsh_action(command.kind, command.choices)}"))
        shift = "shift words; (( CURRENT-- )); " if command.name else ""
        arguments = " \\\n                ".join(["_arguments -S", *specs])
        cases.append(f"        {command.name or '*'}) {shift}{arguments} ;;")
    return (
        _ZSH.replace("@commands@", "\n".join(described))
        .replace("@cases@", "\n".join(cases))
        .replace("@kernels@", KERNELS)
    )


def _zsh_specs(option: ShellOption) -> list[str]:
    text = _short(option.help)
    for char in "\\[]:":
        text = text.replace(char, f"\\{char}")
    value = f":{option.value_name}:{_zsh_action(option.kind, option.choices)}" if option.values else ""
    value += ": : " * (option.values - 1)
    star = "*" if option.repeats else ""
    specs = []
    for word in option.words:
        equals = "=" if option.values == 1 and word.startswith("--") else ""
        others = " ".join(option.words)
        exclusive = "" if star else f"({others})"
        specs.append(f"{star or exclusive}{word.replace(':', chr(92) + ':')}{equals}[{text}]{value}")
    return specs


def _zsh_action(kind: Kind, choices: Sequence[str]) -> str:
    return f"({' '.join(choices)})" if choices else _ZSH_ACTIONS[kind]


# --- fish ----------------------------------------------------------------------------------------------------------

_FISH_ARGUMENTS = {
    Kind.TEXT: "-x",
    Kind.FILE: "-r -F",
    Kind.FOLDER: "-x -a '(__fish_complete_directories)'",
    Kind.NOTEBOOK: "-x -a '(__fish_complete_suffix .ipynb)'",
    Kind.KERNEL: f"-x -a {_quoted(f'({KERNELS})')}",
}


def fish(commands: Sequence[ShellCommand]) -> str:
    """The script for fish."""
    names = " ".join(one.name for one in commands if one.name)
    gateway = f"not __fish_seen_subcommand_from {names}"
    lines = ["# fish completion of fps-kernels: fps-kernels completion fish | source"]
    for program in ("fps-kernels", "jupyter-fps-kernels"):
        begin = f"complete -c {program}"
        lines.append(f"{begin} -f")
        for command in commands:
            condition = _quoted(f"__fish_seen_subcommand_from {command.name}" if command.name else gateway)
            if command.name:
                lines.append(f"{begin} -n {_quoted(gateway)} -a {command.name} -d {_fish_text(command.help)}")
                if command.choices:
                    lines.append(f"{begin} -n {condition} -a {_quoted(' '.join(command.choices))}")
                elif command.kind is Kind.FILE:
                    lines.append(f"{begin} -n {condition} -F")
                elif command.kind is not Kind.TEXT:
                    lines.append(f"{begin} -n {condition} {_FISH_ARGUMENTS[command.kind].replace('-x', '-k')}")
            for option in command.options:
                words = [
                    f"-s {one[1:]}" if not one.startswith("--") else f"-l {_quoted(one[2:])}" for one in option.words
                ]
                lines.append(
                    f"{begin} -n {condition} {' '.join(words)} {_fish_arguments(option)} -d {_fish_text(option.help)}"
                )
    return "\n".join(lines) + "\n"


def _fish_word(word: str) -> str:
    return f"-l {_quoted(word[2:])}" if word.startswith("--") else f"-s {word[1:]}"


def _fish_text(text: str) -> str:
    """A text as one word of fish, where a backslash is an escape within quotes, too."""
    return "'" + _short(text).replace("\\", "\\\\").replace("'", "\\'") + "'"


def _fish_arguments(option: ShellOption) -> str:
    if option.choices:
        return f"-x -a {_quoted(' '.join(option.choices))}"
    return _FISH_ARGUMENTS[option.kind] if option.values else ""


SCRIPTS = {"bash": bash, "zsh": zsh, "fish": fish}
"""What makes the script of each shell."""
