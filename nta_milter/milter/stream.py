"""The end of a message's work on its way to the callback, after a long body where there is one.

Postfix takes the changes, and the first of such a body, while the rest is made or written to disk; little of
the body is in memory at a time.
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
    """One message; ``write`` and ``end`` are its maker's, ``take`` and ``leave`` the callback's."""

    def __init__(self) -> None:
        self._batches: queue.Queue[list[bytes] | Outcome] = queue.Queue(AHEAD)
        self._batch: list[bytes] = []
        self._size = 0
        self._left = False

    def write(self, piece: Buffer) -> None:
        """Take the next piece, which is copied; waits while the callback is far behind.

        Raises:
            TemporaryError: the callback has left.
        """
        self._batch.extend(chunks(piece))
        self._size += len(piece)
        if self._size >= BATCH:
            self._batches.put(self._batch)
            self._batch, self._size = [], 0
        if self._left:
            raise TemporaryError("Postfix takes no more of the message")

    def end(self, outcome: Outcome) -> None:
        """What becomes of the message: with a reply, what was written is void."""
        if not self._left:
            if self._batch and outcome.reply is None:
                self._batches.put(self._batch)
            self._batches.put(outcome)

    def take(self, patience: float) -> list[bytes] | Outcome:
        """The next chunks of libmilter's size, none of them after ``patience`` seconds; at last the end."""
        try:
            return self._batches.get(timeout=patience)
        except queue.Empty:
            return []

    def leave(self) -> None:
        """Nothing more is taken, and the maker does not wait any longer."""
        self._left = True
        while not self._batches.empty():
            self._batches.get_nowait()
