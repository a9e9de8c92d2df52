"""The table of packaging/doc/message-kinds.md is the one that the integration test compares with."""

from tests.laboratory.kinds import table
from tests.repo.tree import ROOT


def test_the_table_of_kinds_in_the_documents_is_the_tested_one():
    lines = (ROOT / "packaging" / "doc" / "message-kinds.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("|")] == table()
