"""What the lab makes of the packages that it fetches."""

import pytest

from lab.kernel import put_modules


@pytest.mark.parametrize("place", ["lib/modules", "usr/lib/modules"])
def test_a_kernels_modules_are_found_in_either_place(tmp_path, place):
    """Debian 13's newest kernel has them below usr."""
    (tmp_path / place / "6.12.1-amd64/kernel").mkdir(parents=True)
    assert put_modules(tmp_path) == "6.12.1-amd64"
    assert (tmp_path / "lib/modules/6.12.1-amd64/kernel").is_dir()
