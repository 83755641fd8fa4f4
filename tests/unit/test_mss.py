"""The MSS clamp, as far as it needs no nftables."""

import pytest

from vti_updown.objects import mss


def test_an_nft_that_hangs_is_killed_soon(tmp_path, monkeypatch):
    """charon answers no peer meanwhile, and every other event waits for the lock."""
    (tmp_path / "nft").write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    (tmp_path / "nft").chmod(0o755)
    monkeypatch.setattr(mss, "NFT_PATH", str(tmp_path))
    with pytest.raises(OSError, match="nft took longer than 3 s"):
        mss._nft("list tables")
