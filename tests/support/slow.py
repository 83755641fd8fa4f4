"""Which variants of a test `make test` runs; `make test-all` runs all of them."""

from collections.abc import Iterable
from typing import Any

import pytest


def slow_but(quick: Iterable[object], variants: Iterable[Any]) -> list[Any]:
    """These variants, all of them marked slow but the quick ones."""
    kept = list(quick)
    return [
        variant if variant in kept else pytest.param(variant, marks=pytest.mark.slow)
        for variant in variants
    ]


def slow_rows_but(quick: Iterable[tuple[Any, ...]], rows: Iterable[tuple[Any, ...]]) -> list[Any]:
    """The same of rows, each of which has a value for each name."""
    kept = list(quick)
    return [row if row in kept else pytest.param(*row, marks=pytest.mark.slow) for row in rows]
