"""Read CompressedData (RFC 3274), under a cap."""

from __future__ import annotations

import zlib

from nta_milter.errors import LimitExceeded, MalformedCms, UnsupportedCms
from nta_milter.smime import algorithm, tlv
from nta_milter.smime.algorithm import algorithm_identifier
from nta_milter.smime.limits import Work
from nta_milter.smime.tlv import Element

_STEP = 1 << 20
_ALWAYS = 1_000_000
"""Octets that anything may grow to."""


def decompress(content: Element, work: Work) -> memoryview:
    """The content.

    Raises:
        MalformedCms: not what the RFC says, or no whole zlib stream.
        UnsupportedCms: another compression, or content that is not data.
        LimitExceeded: it grows beyond ``Limits.expansion`` or ``Limits.expansion_ratio``.
    """
    fields = content.fields(tlv.SEQUENCE, "compressed data")
    fields.next().integer("version")
    if algorithm_identifier(fields.next(), "compression").oid != algorithm.ZLIB:
        raise UnsupportedCms("unknown compression")
    encapsulated = fields.next().fields(tlv.SEQUENCE, "encapsulated content")
    fields.finish()
    if encapsulated.next().object_identifier("content type") != algorithm.DATA:
        raise UnsupportedCms("compressed content that is not data")
    explicit = encapsulated.next(tlv.context(0), "compressed content").children
    encapsulated.finish()
    if len(explicit) != 1:
        raise MalformedCms("a compressed content that is not one OCTET STRING")
    return memoryview(_inflate(explicit[0].octets("compressed content"), work))


def _inflate(pieces: list[memoryview], work: Work) -> bytes:
    state = zlib.decompressobj()
    grown: list[bytes] = []
    size = 0
    allowed = _ALWAYS + work.limits.expansion_ratio * sum(map(len, pieces))
    allowed = min(allowed, work.limits.expansion)
    try:
        for piece in pieces:
            waiting: bytes | memoryview = piece
            while waiting and not state.eof:
                part = state.decompress(waiting, _STEP)
                waiting = state.unconsumed_tail
                size += len(part)
                work.spend("octets", len(part))
                if size > allowed:
                    raise LimitExceeded(f"compressed content of more than {allowed} octets")
                grown.append(part)
    except zlib.error:
        raise MalformedCms("compressed content that is no zlib stream") from None
    if not state.eof:
        raise MalformedCms("compressed content that is truncated")
    return b"".join(grown)
