"""What malloc(3) does with the memory of a large mail."""

import subprocess
import sys

import pytest

FAULTS = """
import resource
from nta_milter.milter import memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytes(bytearray(4_000_000))
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

{call}
faults()
print(faults())
"""


@pytest.mark.parametrize(("call", "kept"), [("", False), ("memory.keep()", True)])
def test_memory_of_one_mail_is_kept_for_the_next(call, kept):
    command = [sys.executable, "-c", FAULTS.format(call=call)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (int(done.stdout) < 100) is kept
