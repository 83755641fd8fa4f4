#!/usr/bin/env python3
"""How dense Python code is: syntax nodes per line, conditional expressions, long functions.

    density.py OURS                    the figures of each package below OURS
    density.py --against OTHER OURS    the same, and whether OURS meets the goal; 1 if it does not

OURS and OTHER are folders of Python files, or names of packages that this Python can import.

It is there to make you look. A line should read aloud as a sentence, and no figure can tell that.

What is counted:

- A code line is a line with at least one token that is not a comment. Blank lines, comments and
  docstrings are left out. A docstring is what `ast.get_docstring` finds: the first statement of
  a module, a class or a function. A string below a constant is a code line, since Python itself
  does not know that it documents anything.
- A syntax node is what `ast.walk` finds, for example a name, a call, an argument or an assignment.
  The nodes of docstrings are left out. So are `Load`, `Store` and `Del`, which only repeat how
  a name is used. Operators count.
- A conditional expression is an `a if b else c`.
- The lines of a function go from its `def` to its end, with docstring, comments and blank lines.

By this count, structlog 26.1.0 has 3.9 nodes per line and pre-commit 4.7.0 has 4.1. This project
had 7.2 when it was one folder of 34 modules. Conditional expressions per 1,000 lines were 4.5, 4.2
and 65. The goal was first set with 3.8 for structlog: that count had taken the docstrings of
`async def` for code.
"""

import argparse
import ast
import importlib.util
import io
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

NODES_AGAINST_OTHER = 1.25
"""How many times the nodes per line of the other code ours may have."""
CONDITIONALS_PER_1000_LINES = 25
FUNCTION_LINES = 40
LONGEST = 10
"""How many of the longest functions are shown."""

Definition = ast.FunctionDef | ast.AsyncFunctionDef
NOT_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


class Function(NamedTuple):
    lines: int
    place: str


class Figures:
    """What was counted in some files."""

    def __init__(self) -> None:
        self.files = 0
        self.lines = 0
        self.nodes = 0
        self.conditionals = 0
        self.functions: list[Function] = []

    def add(self, other: "Figures") -> None:
        self.files += other.files
        self.lines += other.lines
        self.nodes += other.nodes
        self.conditionals += other.conditionals
        self.functions += other.functions

    @property
    def nodes_per_line(self) -> float:
        return self.nodes / max(self.lines, 1)

    @property
    def conditionals_per_1000_lines(self) -> float:
        return 1000 * self.conditionals / max(self.lines, 1)


# Counting


def docstrings(tree: ast.Module) -> Iterator[ast.stmt]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | Definition):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            yield node.body[0]


def code_lines(source: str, tree: ast.Module) -> set[int]:
    numbers: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NOT_CODE:
            numbers.update(range(token.start[0], token.end[0] + 1))
    for docstring in docstrings(tree):
        numbers -= lines_of(docstring)
    return numbers


def lines_of(node: ast.stmt) -> set[int]:
    assert node.end_lineno is not None
    return set(range(node.lineno, node.end_lineno + 1))


def nodes_of(tree: ast.Module) -> list[ast.AST]:
    left_out = {node for docstring in docstrings(tree) for node in ast.walk(docstring)}
    return [
        node
        for node in ast.walk(tree)
        if node not in left_out and not isinstance(node, ast.expr_context)
    ]


def count(file: Path) -> Figures:
    source = file.read_text()
    tree = ast.parse(source, str(file))
    nodes = nodes_of(tree)
    figures = Figures()
    figures.files = 1
    figures.lines = len(code_lines(source, tree))
    figures.nodes = len(nodes)
    for node in nodes:
        if isinstance(node, ast.IfExp):
            figures.conditionals += 1
        if isinstance(node, Definition):
            place = f"{file}:{node.lineno} {node.name}"
            figures.functions.append(Function(len(lines_of(node)), place))
    return figures


def count_packages(folder: Path) -> dict[str, Figures]:
    """The figures of each folder that has Python files, by its path below `folder`."""
    packages: dict[str, Figures] = {}
    for file in sorted(folder.rglob("*.py")):
        name = str(file.parent.relative_to(folder))
        packages.setdefault(name, Figures()).add(count(file))
    return packages


def total(packages: dict[str, Figures]) -> Figures:
    figures = Figures()
    for package in packages.values():
        figures.add(package)
    return figures


# Showing


def print_table(rows: dict[str, Figures]) -> None:
    width = max(len(name) for name in rows)
    heads = f"{'files':>5}  {'lines':>6}  {'nodes/line':>10}  {'conditionals/1000':>17}"
    print(f"{'':{width}}  {heads}  {'longest function':>16}")
    for name, figures in rows.items():
        longest = max((function.lines for function in figures.functions), default=0)
        print(
            f"{name:{width}}  {figures.files:5}  {figures.lines:6}  {figures.nodes_per_line:10.2f}"
            f"  {figures.conditionals_per_1000_lines:17.1f}  {longest:16}"
        )


def print_longest(figures: Figures) -> None:
    print("\nThe longest functions:")
    for function in sorted(figures.functions, reverse=True)[:LONGEST]:
        print(f"  {function.lines:4} {function.place}")


def print_goal(what: str, value: str, goal: str, met: bool) -> bool:
    verdict = "met" if met else "NOT met"
    print(f"  {what}: {value}; the goal is at most {goal}: {verdict}")
    return met


def meets_the_goal(ours: Figures, other_name: str, other: Figures) -> bool:
    most_nodes = NODES_AGAINST_OTHER * other.nodes_per_line
    conditionals = ours.conditionals_per_1000_lines
    too_long = sum(function.lines > FUNCTION_LINES for function in ours.functions)
    print("\nThe goal:")
    met = [
        print_goal(
            "syntax nodes per code line",
            f"{ours.nodes_per_line:.2f}",
            f"{most_nodes:.2f} ({NODES_AGAINST_OTHER} x {other_name})",
            ours.nodes_per_line <= most_nodes,
        ),
        print_goal(
            "conditional expressions per 1,000 code lines",
            f"{conditionals:.1f}",
            str(CONDITIONALS_PER_1000_LINES),
            conditionals <= CONDITIONALS_PER_1000_LINES,
        ),
        print_goal(
            f"functions of more than {FUNCTION_LINES} lines", str(too_long), "0", too_long == 0
        ),
    ]
    return all(met)


def folder_of(name: str) -> Path:
    """The folder of that path, or of the package of that name."""
    if Path(name).is_dir():
        return Path(name)
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        sys.exit(
            f"error: {name} is neither a folder nor a package that can be imported;"
            " name a folder of Python files"
        )
    return Path(found.submodule_search_locations[0])


def main() -> int:
    parser = argparse.ArgumentParser(description="How dense Python code is.")
    parser.add_argument("ours", help="a folder of Python files, or a package")
    parser.add_argument("--against", metavar="OTHER", help="a folder or a package to compare with")
    words = parser.parse_args()
    packages = count_packages(folder_of(words.ours))
    ours = total(packages)
    rows = {**packages, "all": ours}
    if words.against is None:
        print_table(rows)
        print_longest(ours)
        return 0
    other = total(count_packages(folder_of(words.against)))
    print_table({**rows, words.against: other})
    print_longest(ours)
    met = meets_the_goal(ours, words.against, other)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
