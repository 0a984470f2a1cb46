"""Where kernels are written down, as options say."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from fps_kernels.errors import BadOption
from fps_kernels.kernels.keeping import opening
from fps_kernels.kernels.keeping.keepsake import Keepsake
from fps_kernels.kernels.keeping.opening import keepsake_of
from fps_kernels.kernels.keeping.stored_keepsake import StoredKeepsake
from fps_kernels.options import KernelsOptions

KEPT: list[Literal["crash", "always"]] = ["crash", "always"]


def test_by_default_nothing_is_kept(tmp_path: Path) -> None:
    assert type(keepsake_of(KernelsOptions(state_dir=str(tmp_path / "state")))) is Keepsake
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("keep", KEPT)
def test_a_store_in_the_state_folder(tmp_path: Path, keep: Literal["crash", "always"]) -> None:
    options = KernelsOptions(keep_kernels=keep, state_dir=str(tmp_path / "state"), root_dir=str(tmp_path))
    keepsake = keepsake_of(options, "http://x")
    assert isinstance(keepsake, StoredKeepsake)
    assert keepsake.stays is (keep == "always")
    assert keepsake.store.path == tmp_path / "state" / "store.sqlite"
    assert (keepsake.replica.root, keepsake.replica.address) == (str(tmp_path), "http://x")


@pytest.mark.parametrize("keep", KEPT)
def test_a_system_without_users_is_refused(
    tmp_path: Path, keep: Literal["crash", "always"], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "CAN_KEEP", False)  # as on Windows
    with pytest.raises(BadOption, match=f"^keep_kernels={keep}: on this system kernels cannot outlive their server$"):
        keepsake_of(KernelsOptions(keep_kernels=keep, state_dir=str(tmp_path / "state")))
    assert type(keepsake_of(KernelsOptions())) is Keepsake
