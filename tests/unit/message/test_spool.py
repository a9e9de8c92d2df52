import gc
import os
import resource
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nta_milter.errors import TemporaryError
from nta_milter.message.spool import Spool


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_up_to_the_threshold_stays_in_memory(tmp_path: Path) -> None:
    spool = Spool(4, tmp_path)
    before = open_files()
    spool.write(b"ab")
    spool.write(b"cd")
    assert spool.close_for_reading() == b"abcd"
    assert isinstance(spool.close_for_reading(), bytes)
    assert open_files() == before


def test_an_empty_body_is_empty_bytes(tmp_path: Path) -> None:
    assert Spool(4, tmp_path).close_for_reading() == b""


def test_over_the_threshold_is_a_nameless_private_file(tmp_path: Path) -> None:
    spool = Spool(4, tmp_path)
    spool.write(b"abcde")
    assert list(tmp_path.iterdir()) == []
    assert spool._file is not None
    status = os.fstat(spool._file.fileno())
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert status.st_nlink == 0
    body = spool.close_for_reading()
    assert isinstance(body, memoryview)
    assert body.readonly
    assert bytes(body) == b"abcde"
    del body
    spool.discard()


def test_discard_releases_everything_and_the_spool_is_used_again(tmp_path: Path) -> None:
    spool = Spool(4, tmp_path)
    before = open_files()
    for body in (b"first body", b"x", b"the third body"):
        spool.write(body)
        assert bytes(spool.close_for_reading()) == body
        spool.discard()
        assert open_files() == before
        assert spool.size == 0


def test_a_held_slice_outlives_discard(tmp_path: Path) -> None:
    spool = Spool(4, tmp_path)
    before = open_files()
    spool.write(b"0123456789")
    body = spool.close_for_reading()
    assert isinstance(body, memoryview)
    held = body[2:5]
    del body
    spool.discard()
    assert bytes(held) == b"234"
    held.release()
    gc.collect()
    assert open_files() == before


def test_a_closed_body_takes_no_more(tmp_path: Path) -> None:
    spool = Spool(4, tmp_path)
    spool.close_for_reading()
    with pytest.raises(TemporaryError, match="closed"):
        spool.write(b"x")


def test_a_missing_folder_is_temporary(tmp_path: Path) -> None:
    spool = Spool(1, tmp_path / "missing")
    with pytest.raises(TemporaryError, match="cannot be written"):
        spool.write(b"ab")
    with pytest.raises(TemporaryError, match="was not stored"):
        spool.close_for_reading()
    spool.discard()


def test_a_file_that_may_not_grow_is_temporary(tmp_path: Path) -> None:
    # RLIMIT_FSIZE refuses as a full disk does: in the middle of a write. Python ignores SIGXFSZ.
    spool = Spool(1, tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        for _ in range(3):
            spool.write(b"x" * 3_000)
        with pytest.raises(TemporaryError, match="File too large"):
            spool.write(b"x" * 3_000)
        with pytest.raises(TemporaryError, match="cannot be mapped"):
            spool.close_for_reading()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    spool.discard()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chunks=st.lists(st.binary(max_size=20)), threshold=st.integers(0, 40))
def test_what_goes_in_comes_out(tmp_path: Path, chunks: list[bytes], threshold: int) -> None:
    spool = Spool(threshold, tmp_path)
    for chunk in chunks:
        spool.write(chunk)
    body = spool.close_for_reading()
    assert bytes(body) == b"".join(chunks)
    assert isinstance(body, memoryview) == (spool.size > threshold)
    del body
    spool.discard()
