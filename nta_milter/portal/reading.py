"""Stored messages, opened for one visit: taken apart once, then read piece by piece where they lie."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator

from nta_milter.portal.render.content import Body, Content, Place, content_of, shown
from nta_milter.portal.session import Opened
from nta_milter.store.store import Content as Stored
from nta_milter.store.store import Store

KEPT = 64
"""Messages whose structure is remembered; the texts are not."""
KEPT_SECONDS = 600.0


class Reading:
    """Opens messages for those who hold their key; safe for many threads."""

    def __init__(self, store: Store, unnamed: str) -> None:
        self._store = store
        self._unnamed = unnamed
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, Content]] = OrderedDict()
        # taking a message apart needs all of it in memory
        self._room = threading.BoundedSemaphore(2)

    def content(self, opened: Opened) -> Content:
        """The structure of the message.

        Raises:
            StoreUnavailable: the blob cannot be read.
            SealError: the stored content was changed.
        """
        # reading the header of the blob proves the key before anything remembered is given
        with self._open(opened) as reader:
            remembered = self._remembered(opened.delivery.id)
            if remembered is not None:
                return remembered
            with self._room:
                content = content_of(b"".join(reader.pieces()), self._unnamed)
        with self._lock:
            self._kept[opened.delivery.id] = (time.monotonic() + KEPT_SECONDS, content)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return content

    def forget(self, delivery_id: str) -> None:
        """Drop what is remembered of a message."""
        with self._lock:
            self._kept.pop(delivery_id, None)

    def text(self, opened: Opened, body: Body) -> tuple[str, bool]:
        """The text of a part, and whether it was cut."""
        with self._open(opened) as reader:
            place = body.place
            return shown(body, reader.pieces(place.start, place.stop - place.start))

    def small(self, opened: Opened, place: Place) -> bytes:
        """The content of a part, in one piece."""
        return b"".join(self.pieces(opened, place))

    def pieces(self, opened: Opened, place: Place) -> Iterator[bytes]:
        """The content of a part, piece by piece."""
        with self._open(opened) as reader:
            yield from place.decoded(reader.pieces(place.start, place.stop - place.start))

    def whole(self, opened: Opened) -> Iterator[bytes]:
        """The stored message as it is, piece by piece."""
        with self._open(opened) as reader:
            yield from reader.pieces()

    def _remembered(self, delivery_id: str) -> Content | None:
        with self._lock:
            until, content = self._kept.get(delivery_id, (0.0, None))
            if until > time.monotonic():
                return content
            self._kept.pop(delivery_id, None)
            return None

    def _open(self, opened: Opened) -> Stored:
        delivery = opened.delivery
        return self._store.open(delivery.message_id, delivery.blob_id, opened.key)
