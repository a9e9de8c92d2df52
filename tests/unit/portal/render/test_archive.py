import io
import tracemalloc
import zipfile
from datetime import UTC, datetime

from nta_milter.portal.render.archive import zipped

AT = datetime(2026, 11, 24, 10, 15, 30, tzinfo=UTC)


def test_an_archive_holds_the_files_byte_for_byte():
    files = {"été.pdf": b"\x00\xff" * 1000, "leeg.txt": b"", "b.bin": bytes(range(256)) * 999}
    pieces = zipped(((name, len(data), [data[:77], data[77:]]) for name, data in files.items()), AT)
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.testzip() is None
        assert {entry.filename: archive.read(entry) for entry in archive.infolist()} == files
        assert {entry.date_time for entry in archive.infolist()} == {(2026, 11, 24, 10, 15, 30)}


def test_an_archive_without_files_is_one():
    with zipfile.ZipFile(io.BytesIO(b"".join(zipped([], AT)))) as archive:
        assert archive.namelist() == []


def test_a_moment_before_the_format_is_its_first_day():
    pieces = zipped([("a", 1, [b"a"])], datetime(1970, 5, 6, tzinfo=UTC))
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.infolist()[0].date_time[:3] == (1980, 5, 6)


def test_an_archive_is_made_piece_by_piece():
    piece = b"x" * 65_536
    tracemalloc.start()
    size = sum(len(part) for part in zipped([("big", 500 * len(piece), (piece for _ in range(500)))], AT))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 500 * len(piece)
    assert peak < 2_000_000
