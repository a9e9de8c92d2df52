"""The real logrotate with the shipped file, while several processes record events."""

import os
import re
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from nta_milter.audit.events import AuditRecord, Event
from nta_milter.audit.read import read
from nta_milter.audit.write import AuditWriter
from nta_milter.config.model import AuditSettings, PolicySettings, Settings

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "packaging" / "debian" / "nta-milter.logrotate"
LOGROTATE = "/usr/sbin/logrotate"
PROCESSES, ROUNDS = 4, 6

# Records events until its standard input ends, and says each number when the record is on disk.
WRITER = """
import select, sys
from datetime import UTC, datetime
from pathlib import Path
from nta_milter.audit.events import AuditRecord, Event
from nta_milter.audit.write import AuditWriter

writer, number = AuditWriter(Path(sys.argv[1])), 0
while not select.select([sys.stdin], [], [], 0)[0]:
    name = f"4Q{sys.argv[2]}-{number}"
    writer.write(AuditRecord(datetime.now(UTC), Event.SENT, name, "doctor@care.test", (), "smime", ()))
    print(name, flush=True)
    number += 1
"""


@pytest.fixture
def rotate(tmp_path):
    """Rotates as if a month had passed: files from before are a month older than they were."""
    folder = tmp_path / "store"
    folder.mkdir(mode=0o770)
    shipped = SHIPPED.read_text()
    assert "/var/lib/nta-milter/audit.jsonl {" in shipped
    ours = shipped.replace("/var/lib/nta-milter", str(folder))
    # whoever runs the tests has no group nta-store, and need not be root
    ours = ours.replace("su root nta-store", "su root root" if os.geteuid() == 0 else "")
    (tmp_path / "logrotate.conf").write_text(ours)
    (tmp_path / "logrotate.conf").chmod(0o644)

    def rotate():
        dated = re.compile(r"audit\.jsonl-(\d{4})(\d\d)(\d\d)(\.gz)?")
        for each in sorted(folder.iterdir()):
            if found := dated.fullmatch(each.name):
                day = date(*map(int, found.groups()[:3])) - timedelta(days=31)
                each.rename(folder / f"audit.jsonl-{day:%Y%m%d}{found[4] or ''}")
        done = subprocess.run(
            [LOGROTATE, "--force", "--state", tmp_path / "state", tmp_path / "logrotate.conf"],
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return sorted(each.name for each in folder.iterdir())

    return rotate


def test_no_record_is_lost_or_doubled_by_rotation_and_no_process_is_restarted(rotate, tmp_path):
    file = tmp_path / "store" / "audit.jsonl"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, file, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    said = []
    for _ in range(ROUNDS):
        for writer in writers:
            said += [writer.stdout.readline().strip() for _ in range(25)]
        while not file.exists() or not file.stat().st_size:  # none has written since the last rotation
            said += [writer.stdout.readline().strip() for writer in writers]
        rotate()
    for writer in writers:
        writer.stdin.close()
        said += writer.stdout.read().split()
        writer.stdout.close()
        assert writer.wait() == 0
    settings = Settings(policy=PolicySettings(mode="always"), audit=AuditSettings(file=file))
    written = [each["queue_id"] for each in read(settings, ["4Q"])]
    assert sorted(written) == sorted(said)
    assert len(said) >= PROCESSES * ROUNDS * 25
    names = [each.name for each in file.parent.iterdir()]
    assert len(names) == ROUNDS + 1
    assert len([name for name in names if name.endswith(".gz")]) == ROUNDS - 1
    for number in range(PROCESSES):
        mine = [name for name in written if name.startswith(f"4Q{number}-")]
        assert mine == [f"4Q{number}-{count}" for count in range(len(mine))]


def test_a_line_in_the_shipped_file_has_old_records_removed(rotate, tmp_path):
    (line,) = re.findall(r"`(maxage \d+)`", (ROOT / "packaging" / "doc" / "privacy.md").read_text())
    rules = tmp_path / "logrotate.conf"
    rules.write_text(rules.read_text().replace("rotate -1", f"rotate -1\n{line}"))
    file, days = tmp_path / "store" / "audit.jsonl", int(line.split()[1])
    for name, age in (("audit.jsonl-20200102.gz", days + 2), ("audit.jsonl-20200103.gz", days - 2)):
        (file.parent / name).touch()
        at = (datetime.now(UTC) - timedelta(days=age)).timestamp()
        os.utime(file.parent / name, (at, at))
    file.write_text("{}\n")
    kept, now = rotate()
    assert (kept, (file.parent / now).read_text()) == ("audit.jsonl-20191203.gz", "{}\n")


def test_what_is_put_aside_stays_for_the_group_alone_and_nothing_is_removed(rotate, tmp_path):
    file = tmp_path / "store" / "audit.jsonl"
    for _ in range(5):
        writer = AuditWriter(file)
        writer.write(AuditRecord(datetime.now(UTC), Event.SENT, "4X1", "doctor@care.test", (), "smime", ()))
        writer.close()
        names = rotate()
    assert len(names) == 5
    assert {(file.parent / name).stat().st_mode & 0o777 for name in names} == {0o660}
    assert len(rotate()) == 5  # a month without records
