"""The memory of a worker: what was used for one large mail is kept for the next."""

from __future__ import annotations

import ctypes

KEPT_BLOCK = 32 << 20
"""Largest block, in bytes, that malloc(3) takes from memory that it keeps; larger ones come and go."""

KEPT = 64 << 20
"""Free memory at the end of an arena, in bytes, above which malloc(3) gives it back."""

ARENAS = 2
"""Heaps that the threads share, so that not each keeps memory of its own; they allocate in turn anyway."""

_TRIM_THRESHOLD = -1  # the numbers of malloc.h
_MMAP_THRESHOLD = -3
_ARENA_MAX = -8


def keep() -> None:
    """Let malloc(3) keep what is freed.

    By default every buffer of a mail of 1 MB is given back to the kernel and asked for again with the next
    mail, a page fault for each 4 KiB, while after a mail of 20 MB all is kept. Call it before the threads.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # there is none in musl
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, KEPT_BLOCK)
        mallopt(_TRIM_THRESHOLD, KEPT)
        mallopt(_ARENA_MAX, ARENAS)
