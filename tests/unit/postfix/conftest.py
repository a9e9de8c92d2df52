"""The shipped Postfix configuration, rendered into a folder of its own for Postfix's real commands."""

import os
import re
import time
from pathlib import Path

import pytest

SHIPPED = Path(__file__).resolve().parents[3] / "packaging" / "postfix"
STOCK_MASTER = """\
smtp unix - - y - - smtp
cleanup unix n - y - 0 cleanup
smtp inet n - y - - smtpd
pickup unix n - y 60 1 pickup
"""


def services(text):
    """master.cf entries by name and type, continuation lines with them."""
    found, key = {}, None
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line[0].isspace():
            found[key].append(line)
        else:
            key = tuple(line.split()[:2])
            found[key] = [line]
    return found


@pytest.fixture
def configuration(tmp_path):
    folder = tmp_path / "postfix"
    folder.mkdir()
    for file in filter(Path.is_file, SHIPPED.iterdir()):
        text = file.read_text().replace("/etc/postfix", str(folder))
        (folder / file.name).write_text(text)
    master = services(STOCK_MASTER) | services((folder / "master.cf").read_text())
    (folder / "master.cf").write_text("\n".join("\n".join(lines) for lines in master.values()) + "\n")
    with (folder / "main.cf").open("a") as main:
        main.write("compatibility_level = 3.6\nmaillog_file = /dev/stdout\nmessage_size_limit = 50000000\n")
    return cold(folder)


def cold(folder):
    """Postfix waits until a main.cf that changed less than two seconds ago has settled; tests need not."""
    long_ago = time.time() - 60
    os.utime(folder / "main.cf", (long_ago, long_ago))
    return folder


def edit(file: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, file.read_text(), flags=re.MULTILINE)
    assert count, f"{pattern} is not in {file.name}"
    file.write_text(text)
