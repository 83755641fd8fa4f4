#!/usr/bin/env python3
"""Compares docs/messages.md with what the code can say, both ways.

    messages.py            print what the page lacks, as a skeleton to fill in
    messages.py --check    print what is wrong; exit status 1 if anything is
    messages.py --all      print every message of the code, with its place

A message is found in the syntax tree, not by a list of names: whatever text in `src/` reads like
prose is one, unless `is_no_message` says what else it is. So a message cannot be forgotten. What is
inserted into a text becomes a word in capitals, and the page may choose another such word.

In the page, each line that is indented by four spaces is a message, as it is printed behind the
name of its connection. Below it stands a paragraph `Cause:`, and one `Cure:`.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src/vti_updown"
PAGE = ROOT / "docs/messages.md"
HOW_TO = "python3 tools/messages.py prints what is missing, and --all what there is"

PROSE = re.compile(r"[A-Za-z]{2}[\w/-]*[,;:)]? \(?[A-Za-z]|^:? [a-z]+ \S")
"""Two words with a space between them, or what is to be put behind something."""
SQL = re.compile(
    r"^\s*(SELECT|INSERT|UPDATE|DELETE|PRAGMA|BEGIN|CREATE|ALTER|WITH) |\b\w+ !?= (\?|link\b)"
)
MESSAGES = {
    "Refusal": (0, 1),
    "PlanError": (0, 1),
    "SettingsError": (0, 1),
    "EventError": (0, 1),
    "StorageError": (0, 1),
    "OutOfSight": (0, 1),
    "KernelError": (1, 2),
    "InvalidValue": (1, 2),
    "Unrouted": (0, 1),
    "Conflict": (2, 3),
    "Fault": (0, 1),
    "Problem": (1, 2),
    "fault": (0, 1),
    "with_warning": (0, 1),
    "said": (1, 2),
    "__init__": (0, 1),
}
"""Calls that take what is wrong and what to do, by the name of what is called, with the places."""
KEYWORDS = {"problem": 0, "message": 0, "hint": 1, "remedy": 1}
"""The same, if they are given by name."""
HELP = {"Flag", "Command", "Option", "Argument", "PROLOGUE", "usage", "described"}
"""What makes the help: calls, a constant and functions."""
SCREENS = {
    "admin/explain.py",
    "admin/explanation.py",
    "admin/history.py",
    "admin/report.py",
    "admin/screen.py",
    "admin/secrets.py",
    "admin/status_json.py",
    "admin/status_metrics.py",
    "admin/status_text.py",
    "admin/why.py",
}
"""Modules that make the answer of a command: headings, columns, sentences on what is so, patterns.

Their page in docs/ says how to read them. Only what such a module gives to a call of MESSAGES is
a message of its own. The problems that `status` shows are made in `admin/tunnel_status.py`.
"""
REASONS = {"Reason"}
"""Types whose texts say why something is as it is, as `explain` shows it. None asks for a cure."""
NO_MESSAGES = {
    "admin/charon_log.py": {"JOURNAL"},
    "admin/cli.py": {"_GROUP", "_print_version", "format_options"},
    "admin/event_sources.py": {"ENVIRONMENT", "source"},
    "admin/tunnel_status.py": {"holder_in_words"},
    "admin/tunnels.py": {"*"},
    "admin/updown_line.py": {"place"},
    "cli.py": {"hook"},
    "hook/report.py": {"_noted"},
    "hook/run.py": {"_end_history"},
    "hook/user_command.py": {"_tell_syslog"},
    "kernel/apply.py": {"_modules"},
    "kernel/lookup.py": {"_name"},
    "named_tuple.py": {"*"},
    "netlink.py": {"*"},
    "objects/": {"ANOTHERS", "MERGED", "key", "label", "summary", "title", "words", "_listing"},
    "objects/a": {"commands", "removal_commands", "_words"},
    "objects/r": {"commands", "removal_commands"},
    "objects/s": {"commands", "removal_commands"},
    "objects/link": {"*"},
    "objects/mss.py": {"commands", "removal_commands", "_script", "_chain", "_rule"},
    "objects/mss": {"_removal_script", "_has_foreign_table"},
    "objects/object.py": {"*"},
    "objects/registry.py": {"*"},
    "output.py": {"_place", "error_lines"},
    "reconcile/difference.py": {
        "NOT_THERE",
        "IN_DOUBT",
        "OTHERWISE",
        "NOT_WISHED",
        "GOES_WITH_ADDRESS",
        "GOES_WITH_VRF",
    },
    "reconcile/reconcile.py": {"COMES_OR_GOES_WITH", "LEFT_IN_DOUBT", "LOST_WITH_LINK"},
    "records/": {"COLUMNS", "_use", "read", "_holder"},
    "records/history.py": {"LOST", "old"},
    "settings/conflicts.py": {"_with_article"},
    "settings/file.py": {"document.rpartition"},
    "settings/values.py": {"any_of", "_list_as_toml", "_table_as_toml", "_scalar"},
    "text.py": {"fitted"},
    "vici/charons.py": {"__str__"},
    "wishes/link.py": {"links", "_first_kind"},
    "wishes/plan.py": {"NO_SOURCE", "leave_out"},
}
"""Functions and constants, by file or the beginning of its path, whose text is no message of ours.

It is a command that is printed, the name of an object or of a source, SQL, a script, a fault of
the code, or why there is a step, as `explain` shows it.
"""
INSERTED = re.compile("(?:\0[^\0]+\0)+")
STANDS_FOR_SOMETHING = re.compile(r"[A-Z][A-Z0-9_]*|\d+")
"""What the page has where something is inserted: a word in capitals, or a number."""
FENCE = "```"


class Message(NamedTuple):
    """A message of the code. Each text has \\0NAME\\0 where something is inserted."""

    place: str
    """File and line."""
    texts: tuple[str, ...]
    """What may be wrong. Several if the code chooses among them."""
    hints: tuple[str, ...] = ()
    """What to do, behind the semicolon."""

    @property
    def lines(self) -> list[str]:
        """It as the page could have it: each text with a hint, and each hint once."""
        shown = [in_capitals(text) for text in self.texts] or ["MESSAGE"]
        hints = [in_capitals(hint) for hint in self.hints]
        if not hints:
            return shown
        pairs = max(len(shown), len(hints))
        return [f"{shown[n % len(shown)]}; {hints[n % len(hints)]}" for n in range(pairs)]


def in_capitals(text: str) -> str:
    """A text with words in capitals for what is inserted."""
    words = INSERTED.sub(lambda found: found[0].strip("\0").rpartition("\0")[2], text)
    return f"VALUE{words}" if words.startswith((" ", ": ")) else words


# What the code says


def messages() -> list[Message]:
    """Every message of the package, by file and line."""
    found: list[Message] = []
    for file in sorted(PACKAGE.rglob("*.py")):
        found += _Module(file).messages()
    return found


class _Module:
    """The messages of one file."""

    def __init__(self, file: Path) -> None:
        self.path = file.relative_to(PACKAGE).as_posix()
        self.tree = ast.parse(file.read_text())
        self.parents: dict[ast.AST, ast.AST] = {}
        for parent in ast.walk(self.tree):
            self.parents.update(dict.fromkeys(ast.iter_child_nodes(parent), parent))
        self.used: set[ast.AST] = set()
        """The texts that are part of a message that was found."""

    def messages(self) -> list[Message]:
        found = [*self._of_calls()]
        found += self._of_texts(assigned=False)
        found += self._of_texts(assigned=True)  # those that nothing here inserts or says
        return sorted(found, key=lambda message: int(message.place.rpartition(":")[2]))

    def _of_calls(self) -> Iterator[Message]:
        """Those of calls that take what is wrong and what to do."""
        for node in ast.walk(self.tree):
            if not isinstance(node, ast.Call) or name_of(node.func) not in MESSAGES:
                continue
            texts, hints = (self._parts(part) for part in parts_of(node))
            if (texts or hints) and not self._is_no_message(node):
                yield Message(f"{self.path}:{node.lineno}", texts, hints)

    def _parts(self, node: ast.AST | None) -> tuple[str, ...]:
        """The texts of an argument, each once."""
        return tuple(dict.fromkeys(filter(None, self._alternatives(node))))

    def _of_texts(self, assigned: bool) -> Iterator[Message]:
        if self.path in SCREENS:
            return
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Return) and isinstance(node.value, ast.Name):
                node = node.value  # noqa: PLW2901 (the text stands further up)
            elif not is_text(node) or node in self.used or self._is_part_of_text(node):
                continue
            if self._is_assigned(node) != assigned or self._is_no_message(node):
                continue
            texts = self._alternatives(node)
            if any(is_prose(text) and not SQL.search(text) for text in texts):
                yield Message(f"{self.path}:{node.lineno}", texts)  # type: ignore[attr-defined]

    def _is_part_of_text(self, node: ast.AST) -> bool:
        parent = self.parents[node]
        return isinstance(parent, ast.JoinedStr | ast.FormattedValue | ast.BinOp)

    def _is_assigned(self, node: ast.AST) -> bool:
        while isinstance(node, ast.expr | ast.keyword):
            node = self.parents[node]
        return isinstance(node, ast.Assign | ast.AnnAssign)

    def _is_no_message(self, node: ast.AST) -> bool:
        parent = self.parents[node]
        if isinstance(parent, ast.arg | ast.Compare | ast.Subscript):
            return True  # a type, or what something is compared with
        if isinstance(parent, ast.AnnAssign) and name_of(parent.annotation) == "TypeAlias":
            return True
        if isinstance(parent, ast.Expr) and is_text(node):
            return True  # a docstring
        above = self._above(node)
        for each in above:
            if isinstance(each, ast.FunctionDef) and each.returns in (node, *above):
                return True  # a type, too
        pieces = [constant(each) for each in ast.walk(node)]
        if SQL.search("".join(pieces)):
            return True
        names = {name for each in above for name in names_of(each)}
        return bool((HELP | REASONS) & names) or self._is_excluded(names)

    def _is_excluded(self, names: set[str]) -> bool:
        for place, excluded in NO_MESSAGES.items():
            if self.path.startswith(place) and ("*" in excluded or names & excluded):
                return True
        return False

    def _above(self, node: ast.AST) -> list[ast.AST]:
        above = []
        while node in self.parents:
            node = self.parents[node]
            above.append(node)
        return above

    # What an expression may say

    def _alternatives(self, node: ast.AST | None) -> tuple[str, ...]:
        """The texts that an expression may be. Empty if it is no text of this file."""
        found: tuple[str, ...] = ()
        if is_text(node):
            assert node is not None
            self.used.add(node)
        match node:
            case ast.Constant(value=str(text)):
                found = (text,)
            case ast.JoinedStr(values=pieces):
                found = self._product(pieces)
            case ast.BinOp(left=left, right=right):
                found = self._product([left, right])
            case ast.IfExp(body=one, orelse=other):
                found = self._of_several([one, other])
            case ast.BoolOp(values=several):
                found = self._of_several(several)
            case ast.Name():
                found = self._assigned_to(node)
        return found

    def _of_several(self, nodes: Iterable[ast.expr]) -> tuple[str, ...]:
        """The texts of expressions of which the code takes one."""
        found: list[str] = []
        for node in nodes:
            found += self._alternatives(node) or [f"\0{placeholder(node)}\0"]
        return tuple(found)

    def _product(self, pieces: Sequence[ast.AST]) -> tuple[str, ...]:
        """The texts of several pieces that stand one behind the other."""
        choices = [self._piece(piece) for piece in pieces]
        return tuple("".join(chosen) for chosen in product(*choices))

    def _piece(self, piece: ast.AST) -> tuple[str, ...]:
        """The texts of a piece, or a word in capitals if it is something that is inserted."""
        if isinstance(piece, ast.Constant):
            return self._alternatives(piece)
        inner = piece.value if isinstance(piece, ast.FormattedValue) else piece
        inserted = f"\0{placeholder(inner)}\0"
        if not isinstance(inner, ast.Name | ast.IfExp | ast.BinOp):
            return (inserted,)
        values = self._values(inner) if isinstance(inner, ast.Name) else [inner]
        texts = [text for value in values for text in self._alternatives(value) or [inserted]]
        return tuple(dict.fromkeys(texts)) or (inserted,)

    def _assigned_to(self, name: ast.Name) -> tuple[str, ...]:
        """The texts that a name may have."""
        return tuple(text for value in self._values(name) for text in self._alternatives(value))

    def _values(self, name: ast.Name) -> list[ast.expr]:
        """What may have been assigned to a name, in its function or else in the module."""
        above = self._above(name)
        function = next((each for each in above if isinstance(each, ast.FunctionDef)), None)
        if function is None:
            return values_in(self.tree.body, name.id)
        found: list[ast.expr] = []
        for assign in ast.walk(function):
            if not isinstance(assign, ast.Assign) or name.id not in names_of(assign):
                continue
            if assign.lineno < name.lineno and not self._is_over(assign, above):
                if self.parents[assign] in above:
                    found.clear()  # Whatever was assigned before has gone.
                found.append(assign.value)
        return found or values_in(self.tree.body, name.id)

    def _is_over(self, assign: ast.stmt, above: Sequence[ast.AST]) -> bool:
        """Whether the branch with this assignment does not lead to what is below `above`."""
        parent = self.parents[assign]
        if parent in above:
            return False
        branches = [getattr(parent, name, []) for name in ("body", "orelse", "finalbody")]
        (branch,) = [each for each in branches if assign in each]
        return isinstance(branch[-1], ast.Raise | ast.Return | ast.Continue | ast.Break)


def values_in(statements: Iterable[ast.stmt], name: str) -> list[ast.expr]:
    """What these statements assign to this name."""
    return [each.value for each in statements if name in names_of(each) and hasattr(each, "value")]


def names_of(node: ast.AST) -> list[str]:
    """The names that a function, a class, an assignment or a call is known by."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [each.id for each in node.targets if isinstance(each, ast.Name)]
    return [name_of(node.func)] if isinstance(node, ast.Call) else []


def parts_of(call: ast.Call) -> tuple[ast.AST | None, ast.AST | None]:
    """What is wrong and what to do, of a call."""
    found: list[ast.AST | None] = [None, None]
    for number, place in enumerate(MESSAGES[name_of(call.func)]):
        if place < len(call.args):
            found[number] = call.args[place]
    for keyword in call.keywords:
        if keyword.arg in KEYWORDS:
            found[KEYWORDS[keyword.arg]] = keyword.value
    return found[0], found[1]


def name_of(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def constant(node: ast.AST | None) -> str:
    """The text that a node is. Empty if it is none."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return ""


def is_text(node: ast.AST | None) -> bool:
    return constant(node) != "" or isinstance(node, ast.JoinedStr | ast.BinOp)


def is_prose(text: str) -> bool:
    return bool(PROSE.search(INSERTED.sub("X", text)))


def placeholder(node: ast.AST) -> str:
    """A word in capitals for an expression, such as NAME for `shown(link.name)`."""
    if isinstance(node, ast.Call):
        inner = node.args[0] if node.args else node.func
        return placeholder(inner)
    words = re.findall(r"[A-Za-z]\w*", name_of(node) or ast.unparse(node))
    return (words[-1] if words else "TEXT").upper()


# What the page says


class Entry(NamedTuple):
    """Some lines of the page, and what it says of them."""

    lines: tuple[str, ...]
    """The messages, as the page writes them."""
    prose: str
    """What stands below them, up to the next entry or heading."""

    @property
    def lacks(self) -> list[str]:
        """What the page does not say of these lines."""
        both = ("Cause:", "Cure:")
        return [word for word in both if not re.search(rf"(?m)^{word}\s+\S", self.prose)]


def entries(page: str) -> list[Entry]:
    """The entries of the page. What is fenced is an example, and no message."""
    unfenced = re.sub(rf"(?ms)^{FENCE}.*?^{FENCE}$", "", page)
    found: list[Entry] = []
    for block in re.split(r"\n{2,}", unfenced):
        lines = block.splitlines()
        if lines and all(line.startswith("    ") for line in lines):
            found.append(Entry(tuple(line[4:] for line in lines), ""))
        elif block.startswith("#"):
            found.append(Entry((), ""))
        elif found:
            found[-1] = found[-1]._replace(prose=f"{found[-1].prose}{block}\n")
    return [entry for entry in found if entry.lines]


# The comparison


class Comparison:
    """Which lines of the page are messages of the code, and which messages have no line."""

    def __init__(self, found: Iterable[Message]) -> None:
        self.found = list(found)
        self._forms: dict[str, list[re.Pattern[str]]] = {}
        for message in self.found:
            for text in (*message.texts, *message.hints):
                if INSERTED.sub("", text):
                    self._forms[text] = forms(text)
        self._advice = {text for each in self.found for text in each.hints}
        self._advice |= {text for each in self.found for text in each.texts if not each.hints}
        self._used: set[str] = set()

    def is_message(self, line: str) -> bool:
        """Whether the code can print the line. What it has in capitals may be anything."""
        return self._is_whole(line) or any(
            self._is_pair(line[: place.start()], line[place.end() :])
            for place in re.finditer("; ", line)
        )

    def _is_pair(self, text: str, hint: str) -> bool:
        """Whether a message has this text and this hint together.

        Some advice is chosen elsewhere than what is wrong, and goes with any. The page may then
        have a word in capitals in front of it.
        """
        hints = self._advice.intersection(self._like(hint))
        texts = set(self._like(text))
        telling = set(filter(says_something, texts))  # Others may be like any line.
        of_their_own = [each for each in self.found if telling & set(each.texts) and each.hints]
        own = {each for message in of_their_own for each in message.hints}
        free = {each for message in self.found if not message.hints for each in message.texts}
        is_any = STANDS_FOR_SOMETHING.fullmatch(text) is not None
        if not hints or not (is_any or texts) or (own and not hints & (own | free)):
            return False
        self._used |= hints | texts
        return True

    def _is_whole(self, line: str) -> bool:
        texts = {text for message in self.found for text in message.texts}
        like = texts.intersection(self._like(line))
        self._used |= like
        return bool(like)

    def _like(self, line: str, deep: int = 0) -> list[str]:
        """The texts of the code that the line may be."""
        return [
            text
            for text, patterns in self._forms.items()
            if any(self._fits(line, pattern, deep) for pattern in patterns)
        ]

    def _fits(self, line: str, pattern: re.Pattern[str], deep: int) -> bool:
        found = pattern.fullmatch(line)
        return found is not None and all(self._is_inserted(each, deep) for each in found.groups())

    def _is_inserted(self, words: str, deep: int) -> bool:
        """Whether these words can stand where something is inserted."""
        if not words or STANDS_FOR_SOMETHING.fullmatch(words):
            return True
        if deep == DEEPEST or "; " in words:
            return False
        like = self._like(words, deep + 1)
        self._used.update(like)
        return bool(like)

    def missing(self, lines: Iterable[str]) -> list[Message]:
        """The messages that no line of these has, each with what is missing only."""
        for line in lines:
            self.is_message(line)
        left = [
            message._replace(
                texts=tuple(filter(self._is_missing, message.texts)),
                hints=tuple(filter(self._is_missing, message.hints)),
            )
            for message in self.found
        ]
        return [message for message in left if message.texts or message.hints]

    def _is_missing(self, text: str) -> bool:
        return says_something(text) and text not in self._used


DEEPEST = 2
"""How deep a text may be inserted into another one, which is inserted into a third."""


def forms(text: str) -> list[re.Pattern[str]]:
    """What a line of the page looks like that has this text.

    What is inserted is short or, since several things may be, as long as it can be.
    """
    before = r"\S+" if text.startswith((" ", ": ")) else ""
    literal = [re.escape(piece) for piece in INSERTED.split(text)]
    some = [r"([A-Z][A-Z0-9_]*|\d+)", "(.*?)", "(.*)"]
    return [re.compile(before + each.join(literal)) for each in some]


def says_something(text: str) -> bool:
    """Whether a text has words of its own beside what is inserted."""
    return re.search(r"\w", INSERTED.sub("", text)) is not None


def wrong() -> list[str]:
    """What is wrong with the page, in words."""
    page = entries(PAGE.read_text())
    comparison = Comparison(messages())
    lines = [line for entry in page for line in entry.lines]
    found = [f"no message of the code: {line}" for line in lines if not comparison.is_message(line)]
    for entry in page:
        found += [f"has no paragraph {word} {entry.lines[0]}" for word in entry.lacks]
    found += [f"is there twice: {line}" for line in dict.fromkeys(lines) if lines.count(line) > 1]
    for message in comparison.missing(lines):
        found += [f"is not in the page: {line} ({message.place})" for line in message.lines]
    return found


def skeleton() -> str:
    """What the page lacks, as it would stand there."""
    lines = [line for entry in entries(PAGE.read_text()) for line in entry.lines]
    found = []
    for message in Comparison(messages()).missing(lines):
        shown = "".join(f"    {line}\n" for line in message.lines)
        found.append(f"{shown}\nCause: … ({message.place})\n\nCure: …\n")
    return "\n".join(found)


def main(words: Sequence[str]) -> int:
    if "--all" in words:
        for message in messages():
            print(f"{message.place}:", *message.lines, sep="\n    ")
        return 0
    if "--check" not in words:
        print(skeleton(), end="")
        return 0
    found = wrong()
    for each in found:
        print(f"{PAGE.relative_to(ROOT)}: {each}")
    if found:
        print(HOW_TO)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
