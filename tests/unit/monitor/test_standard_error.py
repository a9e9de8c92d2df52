"""The log on standard error, in a process of its own: what it writes is read from a pipe."""

import subprocess
import sys

START = """
import logging, os, sys, threading
from nta_milter.config.model import LogSettings
from nta_milter.monitor.log import start, tell, tell_crash
start(LogSettings(), "milter")
log = logging.getLogger("test")
"""


def written(program: str, **more: str) -> list[str]:
    done = subprocess.run(
        (sys.executable, "-c", START + program), stderr=subprocess.PIPE, check=True, text=True, env=more
    )
    return done.stderr.splitlines()


def test_lines_of_many_threads_are_whole():
    program = """
def speak(name):
    for number in range(200):
        tell(log, logging.INFO, "spoken", name, number=number, filler="x" * 200)
threads = [threading.Thread(target=speak, args=(f"T{n}",)) for n in range(8)]
for each in threads: each.start()
for each in threads: each.join()
"""
    lines = written(program)
    filler = "x" * 200
    wanted = {
        f"INFO T{name}: event=spoken number={n} filler={filler}" for name in range(8) for n in range(200)
    }
    assert len(lines) == len(wanted)
    assert set(lines) == wanted


def test_a_log_that_nobody_reads_any_more_stops_nothing():
    program = """
import signal
signal.signal(signal.SIGPIPE, signal.SIG_IGN)
kept = os.dup(2)
read, write = os.pipe()
os.dup2(write, 2)
os.close(read)
tell(log, logging.WARNING, "unheard")
os.dup2(kept, 2)
tell(log, logging.WARNING, "heard")
"""
    assert written(program) == ["WARNING -: event=heard"]


def test_the_journal_gets_the_level_of_each_line_and_where_a_fault_was():
    program = """
try:
    int("x")
except ValueError:
    tell_crash(log, "fault", "4X1", why="a\\ud800b")
"""
    lines = written(program, JOURNAL_STREAM="8:1")
    assert lines[0].startswith("<3>4X1: event=fault why=")
    assert all(each.startswith("<3>") for each in lines)
    assert "ValueError" in lines[-1]
