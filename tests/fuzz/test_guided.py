"""atheris on all that reads CMS, certificates and key files: nothing but errors of ours, within limits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORM = os.environ.get("NTA_MILTER_TESTS")
SCALE = 50 if FORM == "all" else 1
RUNS = {"tlv": 20_000, "cms": 20_000, "message": 20_000, "certificate": 20_000, "pkcs12": 1_000}
"""Inputs per target in the short form; what loads a key takes four milliseconds for it."""


@pytest.mark.parametrize("target", RUNS)
def test_no_input_gets_through(target: str, tmp_path: Path) -> None:
    runs = RUNS[target] * SCALE
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    words = (
        "-m",
        "tests.fuzz.guided",
        target,
        corpus,
        f"-runs={runs}",
        "-max_len=6000",
        "-rss_limit_mb=2000",
        *(("-seed=1",) if FORM == "ci" else ()),
    )
    done = subprocess.run(
        [sys.executable, *map(str, words), f"-artifact_prefix={tmp_path}/"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"Done {runs} runs" in done.stderr
