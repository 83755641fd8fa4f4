"""Tests that need root and a kernel with VTI are skipped where there is none; on CI they fail."""

import functools
import os

import pytest

from lab.kernel import has_vti

pytest.register_assert_rewrite("support")  # so that what its functions assert is shown

NEED_A_KERNEL = ("tests/kernel/", "tests/strongswan/")


@functools.cache
def kernel_is_ready() -> bool:
    return has_vti()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if not item.nodeid.startswith(NEED_A_KERNEL) or kernel_is_ready():
        return
    why = f"needs root and a kernel with VTI: make watch TESTS={item.nodeid.partition('::')[0]}"
    if os.environ.get("CI"):
        pytest.fail(why, pytrace=False)
    pytest.skip(why)
