"""Whatever happens in a step of the work, the callback that waits for it gets an answer."""

from types import SimpleNamespace

import pytest

from nta_milter.errors import TemporaryError
from nta_milter.milter.service import BUSY, INTERNAL_ERROR, Service
from nta_milter.milter.stream import Stream
from nta_milter.milter.threads import Threads
from nta_milter.policy.outcome import UNTOUCHED


class Panic(BaseException):
    """What a library in Rust raises: no Exception."""


class Job(SimpleNamespace):
    def log(self, *line, **values):
        """Nobody reads it here."""


def answer(error, counted, mode="enforce"):
    """What the callback gets when a step raises this."""
    service = Service.__new__(Service)
    service._counted = SimpleNamespace(ended=counted)
    client = SimpleNamespace(side="outbound")
    job = Job(
        submission=SimpleNamespace(client=client, queue_id="4XYZ"),
        snapshot=SimpleNamespace(settings=SimpleNamespace(mode=mode)),
        began=0.0,
        stream=Stream(),
    )

    def step(job):
        raise error

    threads = Threads(1, "work")
    service._step(threads, job, step)
    threads.close()
    return job.stream.take(10)


def uncounted(*_):
    raise OSError("a label that nobody knows")


@pytest.mark.parametrize("counted", [lambda *_: None, uncounted], ids=["counted", "uncounted"])
@pytest.mark.parametrize(
    ("error", "reply"),
    [(TemporaryError("no disk"), BUSY), (ValueError("a bug"), INTERNAL_ERROR), (Panic("x"), INTERNAL_ERROR)],
    ids=["ours", "a bug", "a panic"],
)
def test_a_step_that_fails_has_the_mail_wait(error, reply, counted):
    assert answer(error, counted).reply == reply
    assert answer(error, counted, "shadow") is UNTOUCHED
