"""What the lab makes of the packages that it fetches."""

import pytest

import lab


@pytest.mark.parametrize("place", ["lib/modules", "usr/lib/modules"])
def test_a_kernels_modules_are_found_wherever_its_package_has_them(tmp_path, place):
    (tmp_path / place / "6.12.1-amd64/kernel").mkdir(parents=True)
    assert lab.put_modules(tmp_path) == "6.12.1-amd64"
    assert (tmp_path / "lib/modules/6.12.1-amd64/kernel").is_dir()
