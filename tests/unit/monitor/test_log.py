import logging
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from nta_milter.monitor.log import line, tell, tell_crash

log = logging.getLogger("test")


def test_a_line_begins_with_the_queue_id_and_names_its_event(caplog):
    with caplog.at_level(logging.INFO):
        tell(log, logging.INFO, "outgoing", "4XYZ", route="portal", reasons="is not compliant", tries=2)
    assert caplog.messages == ['4XYZ: event=outgoing route=portal reasons="is not compliant" tries=2']


def test_without_a_message_a_dash_stands_in_its_place(caplog):
    with caplog.at_level(logging.INFO):
        tell(log, logging.INFO, "started")
        tell(log, logging.INFO, "released", "", route="portal")
    assert caplog.messages == ["-: event=started", "-: event=released route=portal"]


def test_what_is_below_the_level_is_not_even_written_down(caplog):
    class Loud:
        def __str__(self):
            raise AssertionError

    with caplog.at_level(logging.WARNING):
        tell(log, logging.INFO, "outgoing", value=Loud())
    assert caplog.messages == []


def test_a_crash_has_its_place_in_the_program(caplog):
    try:
        raise KeyError("here")
    except KeyError:
        tell_crash(log, "internal-error", "4XYZ", duty="watch")
    assert caplog.messages == ["4XYZ: event=internal-error duty=watch"]
    assert "KeyError: 'here'" in caplog.text


@given(st.text(max_size=50))
def test_no_value_makes_a_second_line_or_another_pair(value):
    made = line("4XYZ", "refused", {"error": value, "last": "yes"})
    assert len(made.splitlines()) == 1
    assert made.isprintable()
    assert made.startswith("4XYZ: event=refused error=")
    assert made.endswith(" last=yes")
    quoted = made.removeprefix("4XYZ: event=refused error=").removesuffix(" last=yes")
    if not quoted.startswith('"'):
        assert " " not in quoted
        assert "=" not in quoted
    else:
        inner = quoted[1:-1].replace('\\"', "").replace("\\\\", "")
        assert '"' not in inner


PROGRAM = """
import logging
from nta_milter.config.model import LogSettings
from nta_milter.monitor.log import start, tell, tell_crash
start(LogSettings(), "nta-milter")
tell(logging.getLogger("a"), logging.WARNING, "undecided", "4X1")
try:
    raise ValueError("two\\nlines")
except ValueError:
    tell_crash(logging.getLogger("a"), "internal-error", "4X1")
"""


def said(environment):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=environment
    )
    return done.stderr.splitlines()


def test_the_journal_is_told_the_level_of_every_line():
    lines = said({"JOURNAL_STREAM": "8:1"})
    assert lines[:2] == ["<4>4X1: event=undecided", "<3>4X1: event=internal-error"]
    assert all(each.startswith("<3>") for each in lines[1:])
    assert lines[-1] == "<3>lines"


def test_elsewhere_the_level_stands_first():
    assert said({})[0] == "WARNING 4X1: event=undecided"
