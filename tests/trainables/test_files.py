"""A file is whole or not there, whatever goes wrong while it is written."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from trainables.files import write_whole


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_file_takes_the_place_of_the_one_before(before, tmp_path):
    path = tmp_path / "study.json"
    if before is not None:
        path.write_bytes(before)
    write_whole(path, b"new\0")
    assert path.read_bytes() == b"new\0"
    assert os.listdir(tmp_path) == ["study.json"]


@pytest.mark.parametrize("before", [None, b"old"])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_on_a_full_disk_the_file_before_stays_and_nothing_else(step, before, tmp_path, monkeypatch):
    def full(*given):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "study.json"
    if before is not None:
        path.write_bytes(before)
    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="No space left") as raised:
        write_whole(path, b"new")
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(path))
    left = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert left == ({} if before is None else {"study.json": before})


def test_who_may_read_a_file_is_what_the_user_allows(tmp_path):
    mask = os.umask(0o022)
    try:
        write_whole(tmp_path / "mnist.h5", b"x")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "mnist.h5").stat().st_mode) == 0o644
