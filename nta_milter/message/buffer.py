"""The one type that a body has, in memory or mapped."""

from __future__ import annotations

Buffer = bytes | memoryview
"""Bytes in memory or in a mapped spool file; both can be sliced without a copy by ``memoryview``."""
