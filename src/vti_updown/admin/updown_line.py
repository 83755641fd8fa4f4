"""The updown line of a connection, read from strongSwan's configuration.

charon tells nobody what it calls as its hook. So its files are read: those of swanctl, and
ipsec.conf. Only as much of their grammar is known here as leads to this line. Where it may be
elsewhere, that is said, and nothing is guessed.
"""

import glob
import os
import re
import shlex
from collections.abc import Iterator, Sequence

from ..named_tuple import NamedTuple
from ..settings.table import FlagWords, SettingsError, read_flags
from ..text import shown

SWANCTL = "/etc/swanctl/swanctl.conf"
IPSEC = "/etc/ipsec.conf"
PROGRAM = "vti-updown"
DEPTH = 10
"""As many files may include one another."""
FILE_BYTES = 1 << 22

# strongswan.conf(5): sections in braces, settings up to the end of the line, references behind a
# colon. A name may have any other character.
TOKEN = re.compile(
    r"""
    (?P<comment> \#[^\n]* )
    | (?P<newline> \n )
    | (?P<open> \{ )
    | (?P<close> \} )
    | =[ \t]* (?: "(?P<quoted> (?: [^"\\] | \\. )* )" | (?P<value> [^\n\#{}"]* ) )
    | :[ ] (?P<references> [^\n{}\#]* )
    | (?P<name> [^\s\#{}=]+ )
    """,
    re.VERBOSE | re.DOTALL,
)


class UpdownLine(NamedTuple):
    """What a file says of a connection's hook."""

    file: str
    line: int
    text: str
    """The shell's command line."""

    @property
    def place(self) -> str:
        return f"{shown(self.file, 80)} line {self.line}"


class Flags(NamedTuple):
    """The flags of a connection's updown line."""

    flags: FlagWords
    notes: Sequence[str]
    """Where they are from, or why they are not known."""


UNKNOWN = "the flags of the updown line are not known; give them to explain as well"
REFERS = ""
"""The text of a line that is not there, and may be elsewhere."""
WHERE = ("config",)
"""What says only where the settings are. With it alone, the updown line is read all the same."""


def with_updown_line(
    given: FlagWords,
    connection: str,
    root: str = "",
) -> Flags:
    """The flags that were given or, without any, those of the updown line of a connection.

    `root` is what stands before each path, for a charon that has another root.
    """
    if set(given) - set(WHERE):
        return Flags(given, [])
    read = _flags_of(connection, root)
    return Flags({**read.flags, **given}, read.notes)


def _flags_of(connection: str, root: str) -> Flags:
    swanctl = _Swanctl(connection, root)
    swanctl.read(SWANCTL)
    found = [*swanctl.found, *_in_ipsec(connection, root)]
    texts = {line.text for line in found}
    if not found:
        what = f"strongSwan's files have no updown line of {shown(connection)}"
        return Flags({}, [f"{what}; {UNKNOWN}"])
    if len(texts) > 1:
        places = " and ".join(line.place for line in found)
        return Flags({}, [f"{places} have different updown lines; {UNKNOWN}"])
    first, *_ = found
    return _flags(first)


def _flags(line: UpdownLine) -> Flags:
    """The words behind our program's name."""
    if line.text == REFERS:
        return Flags(
            {},
            [f"{line.place} refers to another section, which is not read; {UNKNOWN}"],
        )
    try:
        words = shlex.split(line.text)
    except ValueError:
        words = []
    for number, word in enumerate(words):
        if os.path.basename(word) != PROGRAM:
            continue
        try:
            flags = read_flags(words[number + 1 :])
        except SettingsError as error:
            return Flags(
                {},
                [f"{line.place}: {error.message}; {error.hint}"],
            )
        return Flags(flags, [f"the flags are those of {line.place}"])
    return Flags(
        {},
        [f"{line.place} calls another program: {shown(line.text, 60)}; {UNKNOWN}"],
    )


# swanctl.conf


class _OpenSection(NamedTuple):
    name: str
    line: int
    refers: bool
    """Whether it takes settings over from another section, which are not read here."""


class _Swanctl:
    """Reads the files of swanctl for one connection."""

    def __init__(
        self,
        connection: str,
        root: str,
    ) -> None:
        self._connection = connection
        self._root = root
        self.found: list[UpdownLine] = []

    def read(
        self,
        file: str,
        depth: int = DEPTH,
    ) -> None:
        """Finds the `updown` of each `connections.ANY.children.CONNECTION`, in included files, too.

        A section may be open in one file only, so each file begins outside of all.
        """
        path: list[_OpenSection] = []
        name = ""
        is_include = False
        refers = False
        line = 1
        for token in TOKEN.finditer(_contents(self._root + file)):
            kind = token.lastgroup
            value = ""
            if kind:
                value = token.group(kind)
            if kind == "name" and is_include and depth:
                for included in _included(value, file, self._root):
                    self.read(included, depth - 1)
            if kind == "name":
                is_include = value == "include"
                name = value
                refers = False
            elif kind == "references":
                refers = True
            elif kind == "open":
                path.append(_OpenSection(name, line, refers))
            elif kind == "close":
                self._end(file, path)
            elif kind in ("quoted", "value") and name == "updown" and self._is_child(path):
                text = _unescaped(value.strip())
                self.found.append(UpdownLine(file, line, text))
            line += token.group().count("\n")

    def _is_child(self, path: Sequence[_OpenSection]) -> bool:
        names = [section.name for section in path]
        if len(names) != 4:
            return False
        return names[::2] == ["connections", "children"] and names[3] == self._connection

    def _end(
        self,
        file: str,
        path: list[_OpenSection],
    ) -> None:
        """A section ends. It may have its hook from another one."""
        if self._is_child(path) and any(section.refers for section in path):
            child = path[-1]
            if not any(line.file == file and line.line >= child.line for line in self.found):
                self.found.append(UpdownLine(file, child.line, REFERS))
        del path[-1:]


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


# ipsec.conf

Section = dict[str, UpdownLine]
"""The settings of a `conn`, each with its place."""


def _in_ipsec(connection: str, root: str) -> Iterator[UpdownLine]:
    """The `leftupdown` of `conn CONNECTION`, or of what it takes over by `also`."""
    sections: dict[str, Section] = {}
    _read_ipsec(IPSEC, root, sections, DEPTH)
    names = [connection]
    seen: set[str] = set()
    while names:
        name = names.pop(0)
        section = sections.get(name, {})
        if "leftupdown" in section:
            yield section["leftupdown"]
            return
        seen.add(name)
        if "also" in section and section["also"].text not in seen:
            names.append(section["also"].text)
        elif "%default" not in seen and connection in sections:
            names.append("%default")


def _read_ipsec(
    file: str,
    root: str,
    sections: dict[str, Section],
    depth: int,
) -> None:
    """ipsec.conf(5): `conn NAME` begins a line, and each setting of it is indented."""
    current: Section = {}
    for number, line in enumerate(_contents(root + file).splitlines(), 1):
        words = line.split("#")[0].split(maxsplit=1)
        if len(words) == 2 and words[0] == "conn":
            current = sections.setdefault(words[1].strip(), {})
        elif len(words) == 2 and words[0] == "include" and depth:
            for included in _included(words[1].strip(), file, root):
                _read_ipsec(included, root, sections, depth - 1)
        elif line[:1] in (" ", "\t"):
            key, equals, value = line.split("#")[0].partition("=")
            if equals:
                text = value.strip().strip('"')
                current[key.strip()] = UpdownLine(file, number, text)


# Files


def _included(
    pattern: str,
    file: str,
    root: str,
) -> list[str]:
    """The files that a pattern means, which is relative to the file that has it."""
    folder = os.path.dirname(file)
    whole = root + os.path.join(folder, pattern)
    return [found.removeprefix(root) for found in sorted(glob.glob(whole))]


def _contents(path: str) -> str:
    """Empty if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(FILE_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
