"""What charon's own configuration says of each CHILD_SA: its hook, and whether charon starts it.

It reads these few words of swanctl.conf and ipsec.conf and no others. What charon has loaded may be
older than the files. See strongswan.conf(5) for the syntax of the first, and ipsec.conf(5).
"""

import glob
import os
import re
from collections.abc import Iterator, Mapping

from ..named_tuple import NamedTuple

SWANCTL_CONF = "/etc/swanctl/swanctl.conf"
IPSEC_CONF = "/etc/ipsec.conf"
FILE_BYTES = 1 << 22
"""More of a file is not read."""
DEPTH = 10
"""How deep files may include each other."""


class ConfiguredChild(NamedTuple):
    """What is configured for a CHILD_SA."""

    name: str
    where: str
    """The file and the line where it begins, such as `/etc/ipsec.conf:12`."""
    updown: str = ""
    """The hook's command line."""
    start: bool = False
    """Whether charon starts it by itself."""
    trap: bool = False
    """Whether its first packet starts it."""


class _Word(NamedTuple):
    text: str
    where: str
    is_quoted: bool = False


def configured_children(root: str = "") -> list[ConfiguredChild]:
    """What the files below `root` say, of those that can be read."""
    return [*_of_swanctl(root), *_of_ipsec(root)]


# Files


def _read(root: str, path: str) -> str:
    """The text of a file; empty if it cannot be read."""
    try:
        with open(root + path, encoding="utf-8", errors="replace") as file:
            return file.read(FILE_BYTES)
    except OSError:
        return ""


def _included(root: str, pattern: str, path: str) -> list[str]:
    """The files that `include` names: a pattern, from the folder of the file that includes."""
    if not pattern.startswith("/"):
        pattern = f"{os.path.dirname(path)}/{pattern}"
    found = sorted(glob.glob(root + pattern))
    return [each.removeprefix(root) for each in found]


# swanctl.conf

Tree = dict[str, "Tree | _Word"]
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
ESCAPE = re.compile(r"\\(.)", re.DOTALL)
ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}


def _of_swanctl(root: str) -> Iterator[ConfiguredChild]:
    tree = _Swanctl(root).read(SWANCTL_CONF)
    for connection in _sections(tree.get("connections")).values():
        children = _sections(_sections(connection).get("children"))
        for name, child in children.items():
            yield _swanctl_child(name, _sections(child))


def _swanctl_child(name: str, child: Tree) -> ConfiguredChild:
    actions = _value(child, "start_action").split("|")
    return ConfiguredChild(
        name=name,
        where=_value(child, WHERE),
        updown=_value(child, "updown"),
        start="start" in actions,
        trap="trap" in actions,
    )


WHERE = " where"
"""Where a section keeps the place that it begins at. No key has a space."""


def _sections(value: "Tree | _Word | None") -> Tree:
    return value if isinstance(value, dict) else {}


def _value(section: Tree, key: str) -> str:
    value = section.get(key)
    return value.text if isinstance(value, _Word) else ""


class _Swanctl:
    """Reads a file with what it includes. It takes what it understands, and skips the rest."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._tree: Tree = {}

    def read(self, path: str) -> Tree:
        self._into(self._tree, path, DEPTH)
        return self._tree

    def _into(self, section: Tree, path: str, depth: int) -> None:
        words = _Words(_read(self._root, path), path)
        self._section(section, words, depth)

    def _section(self, section: Tree, words: "_Words", depth: int) -> None:
        """Reads up to the end of a section, or of the file."""
        while True:
            word = words.next_word()
            if word is None or word.text == "}":
                return
            if word.text == "include":
                self._include(section, words, depth)
            elif words.skip("="):
                section[word.text] = words.value(word)
            else:
                self._subsection(section, word, words, depth)

    def _include(self, section: Tree, words: "_Words", depth: int) -> None:
        pattern = words.value(None).text
        if not depth:
            return
        for path in _included(self._root, pattern, words.path):
            self._into(section, path, depth - 1)

    def _subsection(
        self,
        section: Tree,
        name: _Word,
        words: "_Words",
        depth: int,
    ) -> None:
        """`NAME { … }`, or `NAME : OTHER, OTHER { … }`, which begins as the others are."""
        others = words.references()
        if not words.skip("{"):
            return
        inner = section.setdefault(name.text, {})
        if not isinstance(inner, dict):
            inner = section[name.text] = {}
        inner[WHERE] = _Word(name.where, name.where)
        self._section(inner, words, depth)
        for other in others:
            _take_over(inner, self._named(other))

    def _named(self, path: str) -> Tree:
        """A section by its path from the top, such as `connections.base`."""
        section = self._tree
        for name in path.split("."):
            section = _sections(section.get(name))
        return section


def _take_over(inner: Tree, other: Tree) -> None:
    """What `other` has, and `inner` does not say itself."""
    for key, value in other.items():
        there = inner.get(key)
        if there is None:
            inner[key] = value
        elif isinstance(there, dict) and isinstance(value, dict):
            _take_over(there, value)


class _Words:
    """The words of a file, one after the other."""

    def __init__(self, text: str, path: str) -> None:
        self.path = path
        self._text = text
        self._place = 0
        self._line = 1

    def _token(self, *skipped: str) -> "re.Match[str] | None":
        while True:
            token = TOKEN.match(self._text, self._place)
            if token is None or token.lastgroup not in skipped:
                return token
            self._pass(token)

    def _pass(self, token: "re.Match[str]") -> None:
        self._place = token.end()
        self._line += token.group().count("\n")

    def next_word(self) -> _Word | None:
        """The next word or closing bracket. None at the end of the file."""
        token = self._token("space", "newline", "rest")
        if token is None:
            return None
        where = f"{self.path}:{self._line}"
        self._pass(token)
        quoted = token.group("quoted")
        if quoted is not None:
            return _Word(_unescaped(quoted), where, True)
        return _Word(token.group(), where)

    def skip(self, mark: str) -> bool:
        """Goes past this mark, and whether it is the next one."""
        token = self._token("space", "newline")
        if token is None or token.group("mark") != mark:
            return False
        self._pass(token)
        return True

    def value(self, key: _Word | None) -> _Word:
        """What stands up to the end of the line, or in quotes."""
        where = f"{self.path}:{self._line}" if key is None else key.where
        parts: list[str] = []
        end = self._place
        while True:
            token = self._token()
            if token is None or token.lastgroup == "newline" or token.group() == "}":
                break
            quoted = token.group("quoted")
            if quoted is not None:
                parts.append(_unescaped(quoted))
            elif not token.group().startswith("#"):
                parts.append(token.group())
            self._pass(token)
            end = token.end()
        self._place = end
        return _Word("".join(parts).strip(), where)

    def references(self) -> list[str]:
        others: list[str] = []
        if not self.skip(":"):
            return others
        while True:
            token = self._token("space", "newline")
            if token is None or token.group() in ("{", "}", "="):
                return others
            if token.group() != ",":
                others.append(token.group())
            self._pass(token)


def _unescaped(text: str) -> str:
    return ESCAPE.sub(lambda found: ESCAPED.get(found[1], found[1]), text)


# ipsec.conf

Section = dict[str, str]


def _of_ipsec(root: str) -> Iterator[ConfiguredChild]:
    reader = _Ipsec(root)
    reader.read(IPSEC_CONF, DEPTH)
    for name in reader.sections:
        if name != "%default":
            yield _ipsec_child(name, reader)


def _ipsec_child(name: str, reader: "_Ipsec") -> ConfiguredChild:
    section = reader.whole(name)
    auto = section.get("auto", "")
    return ConfiguredChild(
        name=name,
        where=reader.where[name],
        updown=section.get("leftupdown") or section.get("rightupdown", ""),
        start=auto == "start",
        trap=auto == "route",
    )


class _Ipsec:
    """Reads the `conn` sections of a file and of what it includes."""

    def __init__(self, root: str) -> None:
        self._root = root
        self.sections: dict[str, Section] = {}
        self.where: dict[str, str] = {}
        """Where each begins."""

    def read(self, path: str, depth: int) -> None:
        section: Section = {}
        for number, line in enumerate(_read(self._root, path).splitlines(), 1):
            is_indented = line[:1].isspace()
            words = line.split("#", 1)[0].strip()
            if not words:
                continue
            if is_indented:
                key, _, value = words.partition("=")
                section[key.strip()] = value.strip().strip('"')
                continue
            kind, _, name = words.partition(" ")
            name = name.strip()
            section = {}
            if kind == "conn":
                section = self.sections.setdefault(name, {})
                self.where[name] = f"{path}:{number}"
            elif kind == "include" and depth:
                for included in _included(self._root, name, path):
                    self.read(included, depth - 1)

    def whole(self, name: str) -> Section:
        """A section with what it has by `also`, and with the defaults."""
        values: Section = {}
        for section in reversed(list(self._with_others(name, set()))):
            values.update(section)
        return {**self.sections.get("%default", {}), **values}

    def _with_others(self, name: str, seen: set[str]) -> Iterator[Mapping[str, str]]:
        if name in seen or name not in self.sections:
            return
        seen.add(name)
        section = self.sections[name]
        yield section
        for other in section.get("also", "").split(","):
            yield from self._with_others(other.strip(), seen)
