import dataclasses
from pathlib import Path

import pytest

from nta_milter.config.model import AuditSettings, LogSettings, MilterSettings, PolicySettings, Settings
from nta_milter.milter.restart import needs_restart, note_refused, refused

OLD = Settings(policy=PolicySettings(mode="always"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({}, ()),
        ({"policy": PolicySettings(mode="content")}, ()),
        ({"milter": MilterSettings(workers=7, timeout=60)}, ("milter.workers", "milter.timeout")),
        ({"audit": AuditSettings(target="store")}, ("audit.target",)),
        ({"audit": AuditSettings(file=Path("/srv/audit.jsonl"))}, ("audit.file",)),
        ({"audit": AuditSettings(retention=400)}, ()),  # the worker's alone
        ({"log": LogSettings(level="debug")}, ("log",)),
    ],
)
def test_only_what_a_process_keeps_since_its_start_is_named(change, named):
    assert needs_restart(OLD, dataclasses.replace(OLD, **change)) == named


def test_why_a_reload_was_refused_is_kept_whatever_a_file_is_called(tmp_path):
    note_refused(tmp_path, "/etc/nta-milter/keys/b\udce9.p12: is damaged")
    assert refused(tmp_path) == "/etc/nta-milter/keys/b\\udce9.p12: is damaged"
    note_refused(tmp_path, "")
    assert refused(tmp_path) == ""
    note_refused(tmp_path / "nowhere", "no folder, no note")
    assert refused(tmp_path / "nowhere") == ""
