#!/usr/bin/env python3
"""Writes the completions for bash, zsh and fish from the tables of settings and commands.

    completions.py            write completions/
    completions.py --check    change nothing; exit status 1 where a file is out of date

They are files, and the hook knows nothing of them: an event stays an event, whatever variables of a
shell's completion are in its environment. They do not run the hook either.

The names of connections are from the file of settings and from the records, as far as the user may
read them. A small program of Python's reads them, since the one is TOML and the others are SQLite.
It looks for some milliseconds, and takes no lock of ours. Where it cannot look, there are no names,
and nothing is said.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "completions"
HOW_TO = "run: make completions"

sys.path.insert(0, str(ROOT / "src"))  # this checkout, whatever else is installed

if TYPE_CHECKING:
    from vti_updown.admin.commands import Command
    from vti_updown.settings.table import Flag

MADE = (
    "# Made by tools/completions.py from the tables of settings and commands: run make completions."
)
NAMES = r"""
import glob, sqlite3, sys, tomllib
which, file, folder = sys.argv[1:]
names = []
if which != "standing":
    try:
        with open(file, "rb") as opened:
            tables = tomllib.load(opened).get("connection")
        names += tables if isinstance(tables, dict) else []
    except (OSError, ValueError, RecursionError):
        pass
if which in ("prepared", "connections"):
    names = [name for name in names if not set(name) & set("*?[")]
if which in ("standing", "connections"):
    only = " WHERE number < 0" if which == "standing" else ""
    for records in glob.glob(f"{folder}/*.sqlite"):
        try:
            opened = sqlite3.connect(f"file:{records}?mode=ro", uri=True, timeout=0.2)
            rows = opened.execute(f"SELECT DISTINCT connection FROM reference{only}").fetchall()
            opened.close()
            names += [name for (name,) in rows]
        except sqlite3.Error:
            pass
for name in sorted(set(names)):
    if name and name.isprintable():
        print(name)
"""
"""Prints the names of connections, each on a line. It has no single quote: the shells put it into
two of them.
"""
LINKS = "/sys/class/net"
NETNS = "/run/netns"


class Tables:
    """What the completions are made from."""

    def __init__(self) -> None:
        from vti_updown.admin.commands import COMMANDS, EVERY_FLAG
        from vti_updown.records.storage import DIRECTORY
        from vti_updown.settings.table import DEFAULT_FILE, FLAGS

        self.commands: Sequence[Command] = list(COMMANDS.values())
        self.every_flag: Sequence[Flag] = EVERY_FLAG
        self.of_event = {flag.name for flag in FLAGS}
        self.file = DEFAULT_FILE
        self.records = DIRECTORY

    @property
    def with_next_word(self) -> list[str]:
        """The flags whose value is the next word, if none stands behind an equals sign."""
        return [f"--{flag.name}" for flag in self.every_flag if flag.takes_next_word]

    def heeded(self, command: "Command") -> "list[Flag]":
        names = {*command.flags, "version", "help"}
        return [flag for flag in self.every_flag if flag.name in names]

    def heeded_by_event(self) -> "list[Flag]":
        return [flag for flag in self.every_flag if flag.name in self.of_event]


def alternatives(words: Iterable[str]) -> str:
    """Words as a pattern of a shell's case."""
    return "|".join(words)


def names_of(flags: "Iterable[Flag]") -> str:
    return " ".join(f"--{flag.name}" for flag in flags)


# bash


def bash() -> str:
    tables = Tables()
    return BASH.format(
        made=MADE,
        names=NAMES.strip(),
        file=tables.file,
        records=tables.records,
        links=LINKS,
        netns=NETNS,
        with_next_word=alternatives(tables.with_next_word),
        commands=alternatives(command.name for command in tables.commands),
        command_words=" ".join(command.name for command in tables.commands),
        flags_of_event=names_of(tables.heeded_by_event()),
        flags_of_commands=_bash_flags(tables),
        values=_bash_values(tables),
        words=_bash_words(tables),
    )


def _bash_flags(tables: Tables) -> str:
    lines = [
        f'{command.name}) flags="{names_of(tables.heeded(command))}" ;;'
        for command in tables.commands
    ]
    return indent("\n".join(lines), " " * 8)


def _bash_values(tables: Tables) -> str:
    lines = []
    for flag in tables.every_flag:
        if flag.completes:
            lines.append(f"--{flag.name}) _vti_updown_{flag.completes} ;;")
        elif flag.choices:
            lines.append(f"--{flag.name}) _vti_updown_found {' '.join(flag.choices)} ;;")
    return indent("\n".join(lines), " " * 8)


def _bash_words(tables: Tables) -> str:
    lines = []
    for command in tables.commands:
        words = f"_vti_updown_names {command.completes}"
        if command.completes == "files":
            words = "_vti_updown_files"
        if command.argument:
            lines.append(f"{command.name}) {words} ;;")
    return indent("\n".join(lines), " " * 8)


BASH = r"""{made}
# shellcheck shell=bash

# The words of the line up to the cursor. bash also parts them at "=" and ":", unless told not to.
_vti_updown_split() {{
    local line=${{COMP_LINE:0:COMP_POINT}} number word rest
    words=()
    for ((number = 0; number <= COMP_CWORD; number++)); do
        word=${{COMP_WORDS[number]}}
        rest=${{line#"${{line%%[![:space:]]*}}"}}
        ((number < COMP_CWORD)) || word=$rest
        if ((number)) && [[ $rest == "$line" ]]; then
            words[-1]+=$word
        else
            words+=("$word")
        fi
        line=${{rest:${{#word}}}}
        last=$word
    done
    # What bash replaces is what stands behind the last such character.
    [[ $last != [=:] ]] || last=
    keep=${{words[-1]:0:${{#words[-1]}}-${{#last}}}}
}}

# Offers those of these words that begin as the value does. None is evaluated, now or by Enter.
_vti_updown_found() {{
    local word whole
    for word in "$@"; do
        [[ $word == "$begun"* ]] || continue
        whole=$before$word
        whole=${{whole:${{#keep}}}}
        case $value in
            \'*) [[ $word == *\'* ]] || COMPREPLY+=("$word") ;;
            \"*) [[ $word == *[\"\$\`\\!]* ]] || COMPREPLY+=("$word") ;;
            *) COMPREPLY+=("$(printf %q "$whole")") ;;
        esac
    done
}}

_vti_updown_names() {{
    local file={file} number found
    for ((number = 1; number < ${{#words[@]}} - 1; number++)); do
        case ${{words[number]}} in
            --config) file=${{words[number + 1]}} ;;
            --config=*) file=${{words[number]#*=}} ;;
        esac
    done
    type -P python3 >/dev/null || return
    [[ -f $file && -r $file ]] || file=/dev/null
    mapfile -t found < <(python3 -I -S -c '
{names}
' "$1" "$file" {records} 2>/dev/null)
    _vti_updown_found "${{found[@]}}"
}}

_vti_updown_tables() {{
    _vti_updown_names tables
}}

_vti_updown_files() {{
    local file whole
    compopt -o filenames 2>/dev/null
    while read -r file; do
        whole=$before$file
        COMPREPLY+=("${{whole:${{#keep}}}}")
    done < <(compgen -f -- "$begun")
}}

_vti_updown_links() {{
    _vti_updown_in {links}
}}

_vti_updown_namespaces() {{
    _vti_updown_in {netns}
}}

_vti_updown_in() {{
    local file
    for file in "$1"/*; do
        [[ ! -e $file ]] || _vti_updown_found "${{file##*/}}"
    done
}}

_vti_updown_value() {{
    begun=${{value#[\"\']}}
    case $1 in
{values}
    esac
}}

_vti_updown() {{
    local words last keep value begun before="" flag="" command="" number flags="{flags_of_event}"
    COMPREPLY=()
    _vti_updown_split
    for ((number = 1; number < ${{#words[@]}} - 1; number++)); do
        if [[ $flag ]]; then
            flag=
            continue
        fi
        case ${{words[number]}} in
            {with_next_word}) flag=${{words[number]}} ;;
            {commands}) [[ $command ]] || command=${{words[number]}} ;;
        esac
    done
    value=${{words[-1]}}
    begun=${{value#[\"\']}}
    if [[ $flag ]]; then
        _vti_updown_value "$flag"
        return
    fi
    if [[ $value == --*=* ]]; then
        flag=${{value%%=*}}
        before=$flag=
        value=${{value#*=}}
        _vti_updown_value "$flag"
        return
    fi
    case $command in
{flags_of_commands}
    esac
    if [[ $value == -* ]]; then
        # shellcheck disable=SC2086
        _vti_updown_found $flags
        return
    fi
    case $command in
        "") _vti_updown_found {command_words} ;;
{words}
    esac
}}

complete -F _vti_updown vti-updown
"""


# zsh


def zsh() -> str:
    tables = Tables()
    return ZSH.format(
        made=MADE,
        names=NAMES.strip(),
        file=tables.file,
        records=tables.records,
        netns=NETNS,
        with_next_word=alternatives(tables.with_next_word),
        commands=alternatives(command.name for command in tables.commands),
        described="\n".join(
            f"        {quoted(command.name + ':' + command.summary)}" for command in tables.commands
        ),
        flags_of_event=_zsh_flags(tables.heeded_by_event()),
        other_flags="\n".join(
            f"                {quoted(f'!--{flag.name}')}"
            for flag in tables.every_flag
            if flag.name not in tables.of_event
        ),
        of_commands="\n".join(_zsh_command(command, tables) for command in tables.commands),
    )


def quoted(text: str) -> str:
    """A text as one word of a shell."""
    return "'" + text.replace("'", "'\\''") + "'"


def _zsh_flags(flags: "Iterable[Flag]") -> str:
    return "\n".join(f"                {_zsh_flag(flag)}" for flag in flags)


def _zsh_flag(flag: "Flag") -> str:
    """The flag as _arguments takes it."""
    several = "*" if flag.many else ""
    equals = ""
    if flag.metavar is not None:
        equals = "=-" if flag.alone else "="
    text = flag.help.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    spec = f"{several}--{flag.name}{equals}[{text}]"
    if flag.metavar is not None:
        optional = "::" if flag.alone else ":"
        spec += f"{optional}{flag.metavar}:{_zsh_action(flag)}"
    return quoted(spec)


def _zsh_action(flag: "Flag") -> str:
    if flag.choices:
        return f"({' '.join(flag.choices)})"
    actions = {
        "files": "_files",
        "links": "_net_interfaces",
        "namespaces": " _vti_updown_namespaces",
        "tables": " _vti_updown_names tables",
    }
    return actions.get(flag.completes, " ")


def _zsh_command(command: "Command", tables: Tables) -> str:
    words = ""
    if command.argument:
        # A blank in front: _arguments then hands it no words of its own.
        action = f" _vti_updown_names {command.completes}"
        if command.completes == "files":
            action = "_files"
        words = f"\n                '*:{command.argument}:{action}'"
    flags = _zsh_flags(tables.heeded(command))
    specs = f"specs=(\n                '1: :'{words}\n{flags}\n            )"
    return f"        {command.name})\n            {specs}\n            ;;"


ZSH = r"""#compdef vti-updown
{made}

_vti_updown_names() {{
    local file={file} number
    local -a found
    for ((number = 2; number < CURRENT; number++)); do
        case $words[number] in
            --config) file=$words[number+1] ;;
            --config=*) file=${{words[number]#*=}} ;;
        esac
    done
    (( $+commands[python3] )) || return
    [[ -f $file && -r $file ]] || file=/dev/null
    found=("${{(@f)$(python3 -I -S -c '
{names}
' $1 $file {records} 2>/dev/null)}}")
    found=(${{found:#}})
    (( $#found )) && compadd -a found
}}

_vti_updown_namespaces() {{
    local -a found
    found=({netns}/*(N:t))
    (( $#found )) && compadd -a found
}}

_vti_updown_commands() {{
    local -a commands
    commands=(
{described}
    )
    _describe command commands
}}

_vti-updown() {{
    local command="" number
    local -a specs
    for ((number = 2; number < CURRENT; number++)); do
        case $words[number] in
            {with_next_word}) ((number++)) ;;
            {commands})
                command=$words[number]
                break
                ;;
        esac
    done
    case $command in
{of_commands}
        *)
            specs=(
                '1:command:_vti_updown_commands'
{other_flags}
{flags_of_event}
            )
            ;;
    esac
    _arguments $specs
}}

_vti-updown "$@"
"""


# fish


def fish() -> str:
    tables = Tables()
    return FISH.format(
        made=MADE,
        names=NAMES.strip(),
        file=tables.file,
        records=tables.records,
        netns=NETNS,
        with_next_word=" ".join(tables.with_next_word),
        commands=" ".join(command.name for command in tables.commands),
        lines="\n".join([*_fish_commands(tables), *_fish_flags(tables)]),
    )


def _fish_commands(tables: Tables) -> list[str]:
    lines = []
    for command in tables.commands:
        summary = fish_quoted(command.summary)
        lines.append(
            f"complete -c vti-updown -f -n '__vti_updown_is \"\"' -a {command.name} -d {summary}"
        )
    for command in tables.commands:
        if command.completes == "files":
            lines.append(f"complete -c vti-updown -F -n '__vti_updown_is {command.name}'")
        elif command.argument:
            words = f"'(__vti_updown_names {command.completes})'"
            lines.append(
                f"complete -c vti-updown -f -n '__vti_updown_is {command.name}' -a {words}"
            )
    return lines


def fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _fish_flags(tables: Tables) -> list[str]:
    lines = []
    for flag in tables.every_flag:
        heeding = [c.name for c in tables.commands if flag in tables.heeded(c)]
        if flag.name in tables.of_event:
            heeding.insert(0, '""')
        condition = f"'__vti_updown_is {' '.join(heeding)}'"
        lines.append(
            f"complete -c vti-updown -n {condition} -l {flag.name}{_fish_value(flag)}"
            f" -d {fish_quoted(flag.help)}"
        )
    return lines


def _fish_value(flag: "Flag") -> str:
    if flag.metavar is None:
        return " -f"
    actions = {
        "files": " -r -F",
        "links": " -x -a '(__fish_print_interfaces)'",
        "namespaces": " -x -a '(__vti_updown_namespaces)'",
        "tables": " -x -a '(__vti_updown_names tables)'",
    }
    if flag.completes:
        return actions[flag.completes]
    words = f" -a '{' '.join(flag.choices)}'" if flag.choices else ""
    return f" -f{words}" if flag.alone else f" -x{words}"


FISH = r"""{made}

# The command on the line, if there is one: a value of a flag is none.
function __vti_updown_command
    set -l is_value 0
    for word in (commandline -opc)[2..-1]
        if test $is_value = 1
            set is_value 0
        else if contains -- $word {with_next_word}
            set is_value 1
        else if contains -- $word {commands}
            echo $word
            return
        end
    end
    echo ""
end

# Whether the command on the line is one of these. "" stands for none.
function __vti_updown_is
    contains -- (__vti_updown_command) $argv
end

function __vti_updown_names
    set -l file {file}
    set -l words (commandline -opc)
    for number in (seq (count $words))
        switch $words[$number]
            case --config
                set -l next (math $number + 1)
                set -q words[$next]; and set file $words[$next]
            case '--config=*'
                set file (string replace -- --config= '' $words[$number])
        end
    end
    command -q python3; or return
    test -f "$file" -a -r "$file"; or set file /dev/null
    python3 -I -S -c '
{names}
' $argv[1] $file {records} 2>/dev/null
end

function __vti_updown_namespaces
    for file in {netns}/*
        string replace {netns}/ '' $file
    end
end

complete -c vti-updown -f
{lines}
"""

FILES = {"vti-updown.bash": bash, "_vti-updown": zsh, "vti-updown.fish": fish}


def main(words: Sequence[str]) -> int:
    stale = []
    for name, make in FILES.items():
        file = FOLDER / name
        wanted = make()
        if not file.exists() or file.read_text() != wanted:
            stale.append(name)
            if "--check" not in words:
                FOLDER.mkdir(exist_ok=True)
                file.write_text(wanted)
    if "--check" not in words:
        return 0
    for name in stale:
        print(f"completions/{name} is not what the tables say; {HOW_TO}")
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
