"""How the work on a message reaches the callback that waits for it: changes, a long body in pieces, the end.

Postfix takes the changes, and the first of a long body, while the rest is made or written to disk; little of
such a body is in memory at a time. SimpleQueue hands over in C: what Future, Condition and Queue do for it in
Python costs more than a message's decision.
"""

from __future__ import annotations

import queue

from nta_milter.errors import TemporaryError
from nta_milter.message.model import Buffer
from nta_milter.milter.actions import chunks
from nta_milter.policy.outcome import Outcome

BATCH = 1 << 18
"""Bytes that are handed over together: each time costs a switch between threads."""

AHEAD = 4
"""Batches that wait at most."""


class Stream:
    """One message; ``begin``, ``write`` and ``end`` are its maker's, ``take`` and ``leave`` the callback's.

    ``begun`` is whether the first Outcome that is taken was but the changes, and the end is still to come.
    """

    def __init__(self) -> None:
        self.begun = False
        self._steps: queue.SimpleQueue[list[bytes] | Outcome] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._ahead = 0
        self._batch: list[bytes] = []
        self._size = 0
        self._left = False

    def begin(self, changes: Outcome) -> None:
        """Let Postfix take the changes, without a body that is still to be written."""
        self.begun = True
        self._steps.put(changes)

    def write(self, piece: Buffer) -> None:
        """Take the next piece, which is copied; waits while the callback is far behind.

        Raises:
            TemporaryError: the callback has left.
        """
        self._batch.extend(chunks(piece))
        self._size += len(piece)
        if self._size >= BATCH:
            self._put()
        if self._left:
            raise TemporaryError("Postfix takes no more of the message")

    def _put(self) -> None:
        if self._ahead == AHEAD:
            self._room.get()
        else:
            self._ahead += 1
        self._steps.put(self._batch)
        self._batch, self._size = [], 0

    def end(self, outcome: Outcome) -> None:
        """What becomes of the message: with a reply, what was written is void."""
        if self._batch and outcome.reply is None and not self._left:
            self._put()
        self._steps.put(outcome)

    def take(self, patience: float) -> list[bytes] | Outcome:
        """The changes, then chunks of libmilter's size, none of them after ``patience`` seconds; the end."""
        try:
            step = self._steps.get(timeout=patience)
        except queue.Empty:
            return []
        if isinstance(step, list):
            self._room.put(None)
        return step

    def leave(self) -> None:
        """Nothing more is taken, and the maker does not wait any longer."""
        self._left = True
        self._room.put(None)
