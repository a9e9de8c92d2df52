import os
import stat
from datetime import UTC, datetime, timedelta

import pytest

from nta_milter.errors import StoreUnavailable
from nta_milter.store.blobs import FileBlobs
from nta_milter.store.keys import new_id


@pytest.fixture
def blobs(tmp_path):
    return FileBlobs(tmp_path)


def test_what_is_put_is_read_at_any_place(blobs):
    name = new_id()
    blobs.put(name, [b"abc", b"", b"defgh"])
    blob = blobs.open(name)
    assert (blob.size, blob.read_at(2, 3), blob.read_at(6, 100), blob.read_at(100, 1)) == (
        8,
        b"cde",
        b"gh",
        b"",
    )
    blob.close()
    blob.close()


def test_folders_are_made_once_and_before_any_blob(blobs):
    blobs.make_folders()
    blobs.make_folders()
    assert len(list(blobs.folder.iterdir())) == 256
    with pytest.raises(StoreUnavailable, match="cannot be made"):
        FileBlobs(blobs.folder / "nowhere").make_folders()


def test_content_that_fails_half_way_leaves_nothing(blobs, tmp_path):
    def pieces():
        yield b"abc"
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreUnavailable, match="No space left"):
        blobs.put(new_id(), pieces())
    assert list(blobs.listed()) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_group_may_read_and_nobody_else(blobs, tmp_path):
    name = new_id()
    blobs.put(name, [b"x"])
    file = tmp_path / name[:2] / name
    assert stat.S_IMODE(file.stat().st_mode) & 0o137 == 0
    assert stat.S_IMODE(file.parent.stat().st_mode) & 0o007 == 0


def test_what_is_deleted_is_gone_and_may_be_deleted_again(blobs):
    name = new_id()
    blobs.put(name, [b"x"])
    blobs.delete(name)
    blobs.delete(name)
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        blobs.open(name)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 32, "0" * 31, "0" * 33, "0" * 31 + "/"])
def test_what_is_no_id_reaches_no_file(blobs, name):
    for action in (blobs.open, blobs.delete, lambda name: blobs.put(name, [b"x"])):
        with pytest.raises(StoreUnavailable, match="is not the id"):
            action(name)


def test_what_a_crash_left_unfinished_is_found_and_removed_when_old(blobs, tmp_path):
    name = new_id()
    (tmp_path / name[:2]).mkdir()
    left = tmp_path / name[:2] / f"{name}.unfinished"
    left.write_bytes(b"half")
    now = datetime.now(UTC)
    assert blobs.remove_unfinished(now - timedelta(hours=1)) == 0
    os.utime(left, (0, 0))
    assert blobs.remove_unfinished(now - timedelta(hours=1)) == 1
    assert not left.exists()


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StoreUnavailable, match="nowhere"):
        FileBlobs(tmp_path / "nowhere").put(new_id(), [b"x"])
