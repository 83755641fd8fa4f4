"""The packages stand in one order, and imports go down it only. See docs/architecture.md."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent.parent / "src/vti_updown"
ORDER = (
    "cli",
    "admin",
    "vici",
    "output",
    "hook",
    "reconcile",
    "wishes",
    "settings",
    "records",
    "kernel",
    "objects",
    "netlink",
    "event",
    "state",
    "processes",
    "addresses",
    "constants",
    "named_tuple",
    "text",
    "__init__",
)
"""From the top down. A module may import what stands further down, and its own package."""
MODULES = sorted(PACKAGE.rglob("*.py"))
NOT_IN_THE_HOOK = {"click", "dataclasses", "re", "enum", "pathlib", "subprocess", "admin", "vici"}
"""What costs milliseconds at every event.

The hook may import it inside a function that few tunnels need.
"""


def parts(module: Path) -> tuple[str, ...]:
    return module.relative_to(PACKAGE).with_suffix("").parts


def imported(module: Path, tree: ast.AST) -> Iterator[tuple[str, ...]]:
    """The modules of ours that an import statement of this tree names, as parts of their path."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                assert not alias.name.startswith("vti_updown"), f"{module}: import it by its place"
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = parts(module)[: -node.level]
            where = (*folder, *(node.module or "").split(".")) if node.module else folder
            for alias in node.names:
                name = (*where, alias.name)
                is_module = (PACKAGE.joinpath(*name).with_suffix(".py")).exists()
                is_package = PACKAGE.joinpath(*name).is_dir()
                yield name if is_module or is_package else where or ("__init__",)


def without_type_checking(tree: ast.Module) -> ast.Module:
    """The tree without what only a type checker reads: such an import makes no circle."""

    class Remove(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt] | None:
            if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
                return list(node.orelse)
            return self.generic_visit(node)

    return Remove().visit(tree)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: "/".join(parts(module)))
def test_imports_go_down_the_order_only(module: Path) -> None:
    """What stands lower must not know what stands higher."""
    own = parts(module)[0]
    for name in imported(module, ast.parse(module.read_text())):
        top = name[0]
        assert top in ORDER, f"{module.name} imports {name}, which has no place in the order"
        assert ORDER.index(own) <= ORDER.index(top), f"{module.name} imports {'.'.join(name)}"


def test_no_import_makes_a_circle() -> None:
    """Not even within a package, and not even inside a function."""
    needs: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for module in MODULES:
        tree = without_type_checking(ast.parse(module.read_text()))
        needs[parts(module)] = set(imported(module, tree)) - {parts(module)}
    while needs:
        free = [name for name, others in needs.items() if not others & set(needs)]
        assert free, f"a circle among {sorted('.'.join(name) for name in needs)}"
        for name in free:
            del needs[name]


@pytest.mark.parametrize(
    "package",
    sorted(path.parent for path in PACKAGE.glob("*/__init__.py")),
    ids=lambda path: path.name,
)
def test_each_package_says_what_lives_there(package: Path) -> None:
    """And what it must not know, in at most four lines."""
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text()))
    assert text is not None and "must not" in text
    assert len(text.splitlines()) <= 4


@pytest.mark.parametrize(
    "module",
    [module for module in MODULES if parts(module)[0] != "admin"],
    ids=lambda module: "/".join(parts(module)),
)
def test_the_hook_imports_nothing_that_costs_time(module: Path) -> None:
    """Whatever a module imports at its top is paid for by every event."""
    tree = ast.parse(module.read_text())
    names = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    assert not names & NOT_IN_THE_HOOK
