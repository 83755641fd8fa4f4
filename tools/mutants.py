#!/usr/bin/env python3
"""Changes the pure modules here and there, and looks whether a unit test or a story notices.

    mutants.py                  a sample of 300 mutants; its seed is printed
    mutants.py --seed N         the same sample once more
    mutants.py --all            all of them
    mutants.py text.py event.py only those of these modules

A *mutant* is a module with one change, for example `<` in place of `<=`. It is *killed* if a test
fails, and *survives* if all of them pass. A survivor is a promise that no test states, or a change
that changes nothing. tests/mutants.toml lists those that change nothing, each with the reason. They
are not drawn. The exit status is 1 if fewer than 95 % are killed, of a module or of all.

How it runs:

- cosmic-ray makes the mutants. What only a type checker reads has none, see `ranges_of_types`.
- A mutant is written into a copy of the project, so the project itself stays as it is.
- A mutant has a process of its own, forked from this one, which has pytest imported by then.
- The tests that are about the module run first, and then the rest, until one fails.
- A test that takes too long kills its mutant: it is a loop without an end.
"""

import argparse
import ast
import faulthandler
import functools
import itertools
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

import cosmic_ray.plugins
import hypothesis
import pyroute2.netlink  # noqa: F401 (imported once here, and not by each mutant)
import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path("src/vti_updown")
KNOWN = Path("tests/mutants.toml")
SAMPLE = 300
GOAL = 95
"""Percent."""
TEST_SECONDS = 30
"""Of CPU time, for one test. The longest takes 5."""
WAITING_SECONDS = 120
"""For one test that waits for something."""
MEMORY = 2 << 30
LIVES = "300"
"""Of the random lives of tests/unit/test_matching.py."""
SEARCHES = hypothesis.settings(
    derandomize=True,
    database=None,
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
"""Each run tries the same examples. None is made simpler, and none fails for being slow."""
NOT_COPIED = (".git", ".lab", ".venv", ".hypothesis", ".*_cache", "build", "__pycache__")

TESTS_ABOUT = {
    "addresses.py": [
        "unit/test_addresses.py",
        "unit/test_event.py",
        "unit/test_settings.py",
        "unit/test_plan.py",
    ],
    "admin/story.py": ["unit/test_history.py"],
    "admin/why.py": ["unit/test_why.py"],
    "event.py": ["unit/test_event.py", "stories/test_refusals.py"],
    "named_tuple.py": ["unit/test_named_tuple.py"],
    "reconcile/difference.py": ["unit/test_difference.py", "stories/test_links.py"],
    "records/matching.py": ["stories/test_lives.py", "unit/test_matching.py"],
    "settings/choose.py": ["unit/test_settings.py"],
    "settings/conflicts.py": ["unit/test_wrong_files.py", "unit/test_settings.py"],
    "settings/file.py": ["unit/test_settings.py", "unit/test_wrong_files.py"],
    "settings/lists.py": ["unit/test_settings.py", "unit/test_wrong_files.py"],
    "settings/table.py": [
        "unit/test_settings.py",
        "unit/test_wrong_files.py",
        "unit/test_docs.py::test_the_page_of_settings_is_what_their_table_says",
    ],
    "settings/values.py": ["unit/test_settings.py", "unit/test_wrong_files.py"],
    "text.py": ["unit/test_text.py"],
    "vici/protocol.py": ["unit/test_vici_protocol.py", "unit/test_vici_recorded.py"],
    "vici/sas.py": ["unit/test_vici_sas.py", "unit/test_vici_recorded.py"],
    "wishes/link.py": ["unit/test_plan.py", "stories/test_links.py"],
    "wishes/mtu.py": ["unit/test_plan.py"],
    "wishes/plan.py": ["unit/test_plan.py", "stories/test_standing.py"],
    "wishes/routes.py": ["unit/test_plan.py", "stories/test_addresses_and_routes.py"],
}
"""The pure modules, and the tests that are about them."""
NO_TESTS_OF_MODULES = {
    "unit/test_docs.py",
    "unit/test_lab.py",
    "unit/test_layout.py",
    "unit/test_readme.py",
    "unit/test_script.py",
}
"""They read the files of the project, or install it, and tell nothing about what a module does."""
LONG_SEARCHES = {"unit/test_difference.py", "unit/test_matching.py"}
"""They run only for the module that they are about."""
OPERATORS = [
    "AddNot",
    "ExceptionReplacer",
    "NumberReplacer",
    "RemoveDecorator",
    "ReplaceAndWithOr",
    "ReplaceBinaryOperator_Add_Sub",
    "ReplaceBinaryOperator_BitAnd_BitOr",
    "ReplaceBinaryOperator_BitOr_BitAnd",
    "ReplaceBinaryOperator_FloorDiv_Mul",
    "ReplaceBinaryOperator_LShift_RShift",
    "ReplaceBinaryOperator_Mod_FloorDiv",
    "ReplaceBinaryOperator_Mul_Add",
    "ReplaceBinaryOperator_Sub_Add",
    "ReplaceBreakWithContinue",
    "ReplaceComparisonOperator",
    "ReplaceContinueWithBreak",
    "ReplaceFalseWithTrue",
    "ReplaceOrWithAnd",
    "ReplaceTrueWithFalse",
    "ReplaceUnaryOperator",
    "ZeroIterationForLoop",
]
"""How the names of cosmic-ray's operators begin.

It has eleven others for each `+`. They tell no more than one, and would crowd out the rest.
"""
LEFT_OUT = ("_Eq_Is", "_NotEq_IsNot", "_Is_Eq", "_IsNot_NotEq")
"""Whether two equal values are one object is Python's own affair."""

Position = tuple[int, int]


class Place(NamedTuple):
    """Where a mutant can be made. `operator` and `occurrence` say it to cosmic-ray."""

    module: str
    operator: str
    occurrence: int
    line_number: int


class Mutant(NamedTuple):
    place: Place
    line: str
    mutated: str
    source: str
    """Of the whole module, with the change."""


class Survivor(NamedTuple):
    """A mutant that is known to change nothing, as tests/mutants.toml has it."""

    module: str
    line: str
    mutated: str


class Result(NamedTuple):
    mutant: Mutant
    survived: bool


# Making mutants


def places(module: str) -> Iterator[Place]:
    """All mutants that cosmic-ray can make of a module."""
    source = (ROOT / PACKAGE / module).read_text()
    types = list(ranges_of_types(ast.parse(source)))
    nodes = list(ast_nodes(get_ast(source)))
    for operator in operators():
        finder = cosmic_ray.plugins.get_operator(operator)()
        positions = (start for node in nodes for start, _ in finder.mutation_positions(node))
        for occurrence, position in enumerate(positions):
            if not any(start <= position < end for start, end in types):
                yield Place(module, operator, occurrence, position[0])


def operators() -> Iterator[str]:
    for operator in cosmic_ray.plugins.operator_names():
        name = operator.removeprefix("core/")
        if name.startswith(tuple(OPERATORS)) and not name.endswith(LEFT_OUT):
            yield operator


def ranges_of_types(tree: ast.Module) -> Iterator[tuple[Position, Position]]:
    """Annotations, and the bodies of `if TYPE_CHECKING`: no test can notice what is there."""
    for node in ast.walk(tree):
        for types in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if types is not None:
                yield range_of(types)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield range_of(node.test)
            yield from map(range_of, node.body)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TYPE_CHECKING":
            yield range_of(node)


def range_of(node: ast.expr | ast.stmt) -> tuple[Position, Position]:
    assert node.end_lineno is not None and node.end_col_offset is not None
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)


def mutant_at(place: Place) -> Mutant:
    source = (ROOT / PACKAGE / place.module).read_text()
    operator = cosmic_ray.plugins.get_operator(place.operator)()
    mutated = mutate_code(source, operator, place.occurrence)
    assert mutated is not None, f"cosmic-ray finds no {place}"
    before, after = difference(source.splitlines(), mutated.splitlines())
    return Mutant(place, before, after, mutated)


def difference(before: list[str], after: list[str]) -> tuple[str, str]:
    """The lines that differ, before and after."""
    while before and after and before[0] == after[0]:
        before, after = before[1:], after[1:]
    while before and after and before[-1] == after[-1]:
        before, after = before[:-1], after[:-1]
    return joined(before), joined(after)


def joined(lines: list[str]) -> str:
    return " ".join(" ".join(line.split()) for line in lines)


def known_survivors() -> set[Survivor]:
    with (ROOT / KNOWN).open("rb") as file:
        entries = tomllib.load(file)["survivor"]
    return {
        Survivor(entry["module"], entry["line"], mutated)
        for entry in entries
        for mutated in entry["mutated"]
    }


def print_stale(known: set[Survivor]) -> None:
    """Names the entries of tests/mutants.toml whose line has changed since."""
    for module in TESTS_ABOUT:
        source = (ROOT / PACKAGE / module).read_text()
        lines = {joined([line]) for line in source.splitlines()}
        listed = {entry.line for entry in known if entry.module == module}
        for line in sorted(listed - lines):
            print(f"{KNOWN}: {module} has no line {line!r} any more; take it out")


def drawn(candidates: list[Place], seed: int) -> list[Mutant]:
    """A sample of the mutants, which the seed decides."""
    random.Random(seed).shuffle(candidates)
    return list(itertools.islice(undecided(candidates), SAMPLE))


def undecided(candidates: list[Place]) -> Iterator[Mutant]:
    """The mutants of which nobody knows that they survive."""
    known = known_survivors()
    print_stale(known)
    for mutant in map(mutant_at, candidates):
        if Survivor(mutant.place.module, mutant.line, mutant.mutated) not in known:
            yield mutant


# Running tests


class Limit:
    """A plugin of pytest. A test that takes too long ends its process."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, TEST_SECONDS)
        # Not ITIMER_REAL: the records have their own use of it.
        faulthandler.dump_traceback_later(WAITING_SECONDS, exit=True)


def passes(project: Path, files: list[str]) -> bool:
    """Runs these tests of a copy of the project, in a process of their own, until one fails."""
    process = os.fork()
    if process == 0:
        run_tests(project, files)
    _, status = os.waitpid(process, 0)
    return status == 0


def run_tests(project: Path, files: list[str]) -> NoReturn:
    status = 1
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        os.chdir(project)
        sys.path.insert(0, str(project / "src"))
        os.environ["PYTHONPATH"] = str(project / "src")
        os.environ["VTI_UPDOWN_LIVES"] = LIVES
        hypothesis.settings.register_profile("mutants", SEARCHES)
        hypothesis.settings.load_profile("mutants")
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, sys.stdout.fileno())
        os.dup2(silence, sys.stderr.fileno())
        options = ["-x", "-q", "-p", "no:cacheprovider", f"--basetemp={project}-tmp"]
        status = pytest.main([*options, *files], plugins=[Limit()])
    finally:
        os._exit(status)


def tests_of(project: Path, module: str) -> tuple[list[str], list[str]]:
    """The files of tests that are about a module, and the rest."""
    tests = project / "tests"
    there = [*tests.glob("unit/test_*.py"), *tests.glob("stories/test_*.py")]
    names = {str(file.relative_to(tests)) for file in there}
    about = TESTS_ABOUT[module]
    rest = names - set(about) - NO_TESTS_OF_MODULES - LONG_SEARCHES
    return [f"tests/{name}" for name in about], [f"tests/{name}" for name in sorted(rest)]


def copy_of_the_project(folder: Path) -> Path:
    """A copy of the project, in which the tests pass and have been compiled."""
    clean = folder / "clean"
    shutil.copytree(ROOT, clean, ignore=shutil.ignore_patterns(*NOT_COPIED))
    about, rest = tests_of(clean, "text.py")
    if not passes(clean, [*about, *rest, *(f"tests/{name}" for name in sorted(LONG_SEARCHES))]):
        sys.exit("error: tests fail without any mutant; mend what `make unit` shows first")
    return clean


def survives(clean: Path, mutant: Mutant) -> Result:
    """Tries a mutant in the copy of this process."""
    project = clean.parent / str(os.getpid())
    if not project.exists():
        shutil.copytree(clean, project)
        sys.dont_write_bytecode = True
    file = project / PACKAGE / mutant.place.module
    before = file.read_text()
    write(file, mutant.source)
    about, rest = tests_of(project, mutant.place.module)
    survived = passes(project, about) and passes(project, rest)
    write(file, before)
    return Result(mutant, survived)


def write(module: Path, source: str) -> None:
    """Writes a module, and takes away what Python has compiled of it."""
    module.write_text(source)
    for compiled in (module.parent / "__pycache__").glob(f"{module.stem}.*"):
        compiled.unlink()


def results(mutants: list[Mutant], processes: int) -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as folder:
        clean = copy_of_the_project(Path(folder))
        with multiprocessing.get_context("fork").Pool(processes) as pool:
            yield from pool.imap_unordered(functools.partial(survives, clean), mutants)


# Showing


def show(mutant: Mutant) -> None:
    place = mutant.place
    print(f"survives: {PACKAGE / place.module}:{place.line_number} ({place.operator})")
    print(f"  - {mutant.line}\n  + {mutant.mutated}", flush=True)


def run(mutants: list[Mutant], processes: int) -> list[Result]:
    """Tries them all, and shows the survivors as they are found."""
    done: list[Result] = []
    start = time.monotonic()
    for result in results(mutants, processes):
        done.append(result)
        if result.survived:
            show(result.mutant)
        if len(done) % 50 == 0:
            minutes = (time.monotonic() - start) / 60
            print(f"{len(done)} of {len(mutants)} after {minutes:.0f} minutes", flush=True)
    return done


def print_row(name: str, done: list[Result]) -> bool:
    """Whether the goal is met."""
    survived = sum(result.survived for result in done)
    killed = len(done) - survived
    percent = 100 * killed / max(len(done), 1)
    met = not done or percent >= GOAL
    verdict = "" if met else f"  below {GOAL} %"
    print(f"{name:26} {killed:6} {survived:8} {percent:7.1f} %{verdict}")
    return met


def meets_the_goal(modules: list[str], done: list[Result]) -> bool:
    print(f"\n{'':26} {'killed':>6} {'survived':>8}")
    met = True
    for module in modules:
        met &= print_row(module, [one for one in done if one.mutant.place.module == module])
    return print_row("all", done) and met


def main() -> int:
    parser = argparse.ArgumentParser(description="Whether the tests notice small changes.")
    parser.add_argument("modules", nargs="*", help="of these modules only, such as text.py")
    parser.add_argument("--all", action="store_true", help=f"all mutants, not {SAMPLE} of them")
    parser.add_argument("--seed", type=int, help="the sample that was drawn with this seed")
    parser.add_argument("--processes", type=int, default=2, help="how many mutants at a time")
    words = parser.parse_args()
    modules = words.modules or list(TESTS_ABOUT)
    unknown = sorted(set(modules) - set(TESTS_ABOUT))
    if unknown:
        parser.error(f"{unknown[0]} is none of {', '.join(TESTS_ABOUT)}")
    candidates = [place for module in modules for place in places(module)]
    if words.all:
        mutants = list(undecided(candidates))
    else:
        seed = words.seed or random.randrange(1, 10_000)
        print(f"SEED={seed} makes the same sample again")
        mutants = drawn(candidates, seed)
    print(f"{len(mutants)} mutants", flush=True)
    return 0 if meets_the_goal(modules, run(mutants, words.processes)) else 1


if __name__ == "__main__":
    sys.exit(main())
