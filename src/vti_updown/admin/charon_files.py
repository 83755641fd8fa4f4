"""What charon's own configuration says of each CHILD_SA: its hook, and whether charon starts it.

It reads these few words of swanctl.conf and ipsec.conf and no others. What charon has loaded may be
older than the files. See strongswan.conf(5) for the syntax of the first, and ipsec.conf(5).

Nothing in the files is an error here: what cannot be understood is skipped.
"""

import glob
import os
import re
import shlex
import stat
from collections.abc import Iterator, Mapping, Sequence

from .. import processes
from ..named_tuple import NamedTuple
from ..vici.ask import Answer
from ..vici.charons import within

SWANCTL_CONF = "/etc/swanctl/swanctl.conf"
IPSEC_CONF = "/etc/ipsec.conf"
FILE_BYTES = 1 << 22
"""More of a file is not read."""
FILES = 10_000
"""More files are not read: each may include all others."""
DEPTH = 10
"""How deep files may include each other, and sections may refer to each other."""
NESTING = 20
"""How deep sections may stand in each other. Those of a CHILD_SA are three deep."""
OTHERS = 50
"""As many sections as one of ipsec.conf may take over by `also`, one from the other."""
STARTER = "starter"
"""The process that reads ipsec.conf, and starts a charon. No other charon has that file."""
HOOK = "vti-updown"


class ConfiguredChild(NamedTuple):
    """What is configured for a CHILD_SA."""

    name: str
    where: str
    """The file and the line where it begins, such as `/etc/ipsec.conf:12`."""
    connection: str = ""
    """The name of its IKE connection."""
    peers: tuple[str, ...] = ()
    """As they are written. Empty if anybody may be the peer."""
    updown: str = ""
    """The hook's command line."""
    start: bool = False
    """Whether charon starts it by itself."""
    trap: bool = False
    """Whether its first packet starts it."""
    by_ipsec: bool = False
    """Whether it is in ipsec.conf, so that `ipsec` starts it, and not swanctl."""

    @property
    def words_of_hook(self) -> list[str] | None:
        """What stands behind `vti-updown` in its updown line. None if that is another hook."""
        try:
            words = shlex.split(self.updown)
        except ValueError:
            words = self.updown.split()
        for place, word in enumerate(words):
            if os.path.basename(word) == HOOK:
                return words[place + 1 :]
        return None


def of_charons(answers: Sequence[Answer]) -> list[ConfiguredChild]:
    """What the files of these charons say. Without a charon, those of this host count.

    Each charon has them in its own root, as in a container.
    """
    children: dict[ConfiguredChild, None] = {}
    roots: dict[object, tuple[str, bool]] = {}
    for answer in answers:
        pid = answer.charon.pid
        if pid:
            root = f"{processes.PROC}/{pid}/root"
            roots[_identity(pid), _is_of_starter(pid)] = (root, _is_of_starter(pid))
    for root, with_ipsec in list(roots.values()) or [("", True)]:
        children |= dict.fromkeys(configured_children(root, with_ipsec))
    return list(children)


def _identity(pid: int) -> object:
    """What is equal for two processes that see the same files."""
    try:
        seen = os.stat(f"{processes.PROC}/{pid}/root")
    except OSError:
        return pid
    return processes.namespace_of(pid, "mnt"), seen.st_dev, seen.st_ino


def _is_of_starter(pid: int) -> bool:
    process = processes.process_at(pid)
    parent = None if process is None else processes.process_at(process.parent)
    return parent is not None and parent.name == STARTER


def configured_children(root: str = "", with_ipsec: bool = True) -> list[ConfiguredChild]:
    """What the files below `root` say, of those that can be read."""
    children = list(_of_swanctl(_Files(root)))
    if with_ipsec:
        children += _of_ipsec(_Files(root))
    return children


# Files


class _Files:
    """The files below a root. Symbolic links lead to what is below it, too."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._left = FILES

    def read(self, path: str) -> str:
        """The text of a file. Empty if it cannot be read."""
        if not self._left:
            return ""
        self._left -= 1
        try:
            # Without O_NONBLOCK, opening a pipe would wait for its writer.
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
            handle = os.open(within(self._root, path), flags)
        except (OSError, ValueError):
            return ""
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return ""
            return os.read(handle, FILE_BYTES).decode("utf-8", "surrogateescape")
        except OSError:
            return ""
        finally:
            os.close(handle)

    def included(
        self,
        pattern: str,
        path: str,
    ) -> list[str]:
        """The files that `include` names: a pattern, from the folder of the file that includes."""
        folder, _, name = os.path.join(os.path.dirname(path), pattern).rpartition("/")
        if not name:
            return []
        try:
            found = glob.glob(f"{within(self._root, folder)}/{name}")
        except (OSError, ValueError, re.error):
            return []
        return sorted(f"{folder}/{os.path.basename(each)}" for each in found)


# swanctl.conf

TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r]+|\#[^\n]*)
    | (?P<newline>\n)
    | (?P<mark>[{}=:,])
    | "(?P<quoted>(?:[^"\\]|\\.)*)"
    | (?P<word>[^\s{}=:,"\#]+)
    | (?P<rest>.)
    """,
    re.VERBOSE | re.DOTALL,
)
PAIR = re.compile(
    r"""\s*([^\s{}=:,"#]+)[ \t]*=[ \t]*(?:"([^"\\\n]*)"[ \t]*|([^"#{}\n]*))\n""",
)
"""`KEY = VALUE` without anything odd, as most lines are: it is read ten times as fast."""
ESCAPE = re.compile(r"\\(.)", re.DOTALL)
ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}


class _Section:
    """A section as it is written."""

    def __init__(self, where: str = "") -> None:
        self.where = where
        self.values: dict[str, str] = {}
        self.sections: dict[str, _Section] = {}
        self.others: list[str] = []
        """The sections that it begins as, each by its path from the top."""


def _of_swanctl(files: _Files) -> Iterator[ConfiguredChild]:
    reader = _Swanctl(files)
    reader.read(SWANCTL_CONF)
    for connection, section in reader.inner(reader.top, "connections"):
        whole = reader.whole(section)
        for name, child in reader.inner(whole, "children"):
            yield _swanctl_child(
                name,
                reader.whole(child),
                connection,
                whole,
            )


def _swanctl_child(
    name: str,
    child: _Section,
    connection_name: str,
    connection: _Section,
) -> ConfiguredChild:
    actions = _listed(child.values.get("start_action", ""), "|")
    peers = _listed(connection.values.get("remote_addrs", ""), ",")
    return ConfiguredChild(
        name=name,
        where=child.where,
        connection=connection_name,
        peers=peers,
        updown=child.values.get("updown", ""),
        start="start" in actions,
        trap="trap" in actions,
    )


def _listed(text: str, separator: str) -> tuple[str, ...]:
    return tuple(word for word in map(str.strip, text.split(separator)) if word)


class _Swanctl:
    """Reads a file with what it includes."""

    def __init__(self, files: _Files) -> None:
        self._files = files
        self.top = _Section()

    def read(self, path: str) -> None:
        self._into(
            self.top,
            path,
            DEPTH,
            NESTING,
        )

    # What is written

    def _into(
        self,
        section: _Section,
        path: str,
        depth: int,
        nesting: int,
    ) -> None:
        words = _Words(self._files.read(path), path)
        while not words.is_at_end:
            self._section(
                section,
                words,
                depth,
                nesting,
            )

    def _section(
        self,
        section: _Section,
        words: "_Words",
        depth: int,
        nesting: int,
    ) -> None:
        """Reads up to the end of a section, or of the file."""
        while True:
            section.values.update(words.pairs())
            word = words.next_word()
            if word is None or word.text == "}":
                return
            if word.text == "include":
                self._include(
                    section,
                    words,
                    depth,
                    nesting,
                )
            elif words.skip("="):
                section.values[word.text] = words.value()
            else:
                self._subsection(
                    section,
                    word,
                    words,
                    depth,
                    nesting,
                )

    def _include(
        self,
        section: _Section,
        words: "_Words",
        depth: int,
        nesting: int,
    ) -> None:
        pattern = words.value()
        if not depth:
            return
        for path in self._files.included(pattern, words.path):
            self._into(
                section,
                path,
                depth - 1,
                nesting,
            )

    def _subsection(
        self,
        section: _Section,
        name: "_Word",
        words: "_Words",
        depth: int,
        nesting: int,
    ) -> None:
        """`NAME { … }`, or `NAME : OTHER, OTHER { … }`, which begins as the others are."""
        others = words.references()
        if not words.skip("{"):
            return
        if not nesting:
            words.give_up()
            return
        where = f"{words.path}:{words.line_at(name.place)}"
        inner = section.sections.setdefault(name.text, _Section(where))
        inner.others += others
        self._section(
            inner,
            words,
            depth,
            nesting - 1,
        )

    # What is meant

    def inner(
        self,
        section: _Section,
        name: str,
    ) -> list[tuple[str, _Section]]:
        """The sections in a section of this name."""
        named = section.sections.get(name, _Section())
        return list(self.whole(named).sections.items())

    def whole(
        self,
        section: _Section,
        depth: int = DEPTH,
    ) -> _Section:
        """A section with what it takes over from the others that it refers to."""
        whole = section
        if not depth:
            return whole
        for path in section.others:
            whole = _joined(
                whole,
                self.whole(self._named(path), depth - 1),
                NESTING,
            )
        return whole

    def _named(self, path: str) -> _Section:
        """A section by its path from the top, such as `connections.base`."""
        section = self.top
        for name in path.split("."):
            section = section.sections.get(name, _Section())
        return section


def _joined(
    section: _Section,
    other: _Section,
    nesting: int,
) -> _Section:
    """A section, and what `other` has beyond."""
    joined = _Section(section.where)
    joined.values = {**other.values, **section.values}
    joined.sections = {**other.sections, **section.sections}
    joined.others = section.others
    for name in section.sections.keys() & other.sections.keys():
        if nesting:
            both = section.sections[name], other.sections[name]
            joined.sections[name] = _joined(
                *both,
                nesting - 1,
            )
    return joined


class _Word(NamedTuple):
    text: str
    place: int
    """Where it begins in the text."""


class _Words:
    """The words of a file, one after the other."""

    def __init__(
        self,
        text: str,
        path: str,
    ) -> None:
        self.path = path
        self._text = text
        self._place = 0
        self._counted = (1, 0)
        """A line's number, and a place in it."""

    @property
    def is_at_end(self) -> bool:
        return self._place >= len(self._text)

    def give_up(self) -> None:
        """The rest is not read."""
        self._place = len(self._text)

    def _token(self, *skipped: str) -> "re.Match[str] | None":
        while True:
            token = TOKEN.match(self._text, self._place)
            if token is None or token.lastgroup not in skipped:
                return token
            self._place = token.end()

    def line_at(self, place: int) -> int:
        """The number of the line of a place, which is not before the last one asked for."""
        line, before = self._counted
        line += self._text.count("\n", before, place)
        self._counted = (line, place)
        return line

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Each `KEY = VALUE` that comes next, as long as none is odd."""
        while (pair := PAIR.match(self._text, self._place)) is not None:
            key, quoted, value = pair.groups()
            if key == "include":
                return
            self._place = pair.end()
            yield key, value.strip() if quoted is None else quoted

    def next_word(self) -> _Word | None:
        """The next word or closing bracket. None at the end of the file."""
        token = self._token("space", "newline", "rest")
        if token is None:
            return None
        self._place = token.end()
        return _Word(_text_of(token), token.start())

    def skip(self, mark: str) -> bool:
        """Goes past this mark, and whether it is the next one."""
        token = self._token("space", "newline")
        if token is None or token.group("mark") != mark:
            return False
        self._place = token.end()
        return True

    def value(self) -> str:
        """What stands up to the end of the line, or of the section, and in quotes beyond."""
        parts: list[str] = []
        while True:
            token = self._token()
            if token is None or token.lastgroup == "newline" or token.group() == "}":
                return "".join(parts).strip()
            if not token.group().startswith("#"):
                parts.append(_text_of(token))
            self._place = token.end()

    def references(self) -> list[str]:
        others: list[str] = []
        if not self.skip(":"):
            return others
        while True:
            token = self._token("space", "newline")
            if token is None or token.group() in ("{", "}", "="):
                return others
            if token.group() != ",":
                others.append(_text_of(token))
            self._place = token.end()


def _text_of(token: "re.Match[str]") -> str:
    """A word, or what stands in quotes."""
    quoted = token.group("quoted")
    if quoted is None:
        return token.group()
    return ESCAPE.sub(
        lambda found: ESCAPED.get(found[1], found[1]),
        quoted,
    )


# ipsec.conf

Section = dict[str, str]
DEFAULT = "%default"
COMMENT = re.compile(r'("[^"]*")|#.*')
"""In quotes, # begins none."""


def _of_ipsec(files: _Files) -> Iterator[ConfiguredChild]:
    reader = _Ipsec(files)
    reader.read(IPSEC_CONF, DEPTH)
    for name in reader.sections:
        if name != DEFAULT:
            yield _ipsec_child(name, reader)


def _ipsec_child(name: str, reader: "_Ipsec") -> ConfiguredChild:
    section = reader.whole(name)
    auto = section.get("auto", "")
    return ConfiguredChild(
        name=name,
        where=reader.where[name],
        connection=name,
        peers=_listed(section.get("right", ""), ","),
        updown=section.get("leftupdown") or section.get("rightupdown", ""),
        start=auto == "start",
        trap=auto == "route",
        by_ipsec=True,
    )


class _Ipsec:
    """Reads the `conn` sections of a file and of what it includes."""

    def __init__(self, files: _Files) -> None:
        self._files = files
        self.sections: dict[str, Section] = {}
        self.where: dict[str, str] = {}
        """Where each begins."""

    def read(
        self,
        path: str,
        depth: int,
    ) -> None:
        section: Section = {}
        for number, line in enumerate(self._files.read(path).split("\n"), 1):
            words = COMMENT.sub(r"\1", line).strip()
            kind, name = _first_word(words)
            if kind == "include":
                self._include(name, path, depth)
            elif not line[:1].isspace() and kind:
                section = {}
                if kind == "conn":
                    section = self.sections.setdefault(name, {})
                    self.where[name] = f"{path}:{number}"
            elif kind:
                _add(section, words)

    def _include(
        self,
        pattern: str,
        path: str,
        depth: int,
    ) -> None:
        if not depth:
            return
        for included in self._files.included(pattern.strip('"'), path):
            self.read(included, depth - 1)

    def whole(self, name: str) -> Section:
        """A section with what it has by `also`, and with the defaults."""
        whole: Section = {}
        for section in [*self._with_others(name), *self._with_others(DEFAULT)]:
            for key, value in section.items():
                whole.setdefault(key, value)
        return whole

    def _with_others(self, name: str) -> list[Mapping[str, str]]:
        """A section, and those that it names: what it names first counts before what that names."""
        found: dict[str, Mapping[str, str]] = {}
        waiting = [name]
        while waiting and len(found) < OTHERS:
            next_name = waiting.pop()
            if next_name in found or next_name not in self.sections:
                continue
            section = found[next_name] = self.sections[next_name]
            waiting += reversed(_listed(section.get("also", ""), ","))
        return list(found.values())


def _first_word(words: str) -> tuple[str, str]:
    """The first word, and all behind it."""
    first, *rest = words.split(None, 1) or [""]
    return first, "".join(rest)


def _add(section: Section, words: str) -> None:
    """Adds `KEY = VALUE`. Each `also` counts, and of other keys the last one."""
    key, _, value = words.partition("=")
    key = key.strip()
    value = value.strip().strip('"')
    if key == "also" and key in section:
        value = f"{section[key]},{value}"
    section[key] = value
