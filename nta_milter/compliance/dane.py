"""One receiving host: can mail reach it by mandatory DANE (RFC 7672), as far as DNS can tell?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from nta_milter.compliance.codes import Code
from nta_milter.compliance.reasons import reason
from nta_milter.compliance.report import HostReport, Reason
from nta_milter.lookup.answer import Answer, Presence
from nta_milter.lookup.name import is_host_name

Tlsa = tuple[int, int, int, bytes]
"""Usage, selector, matching type and data (RFC 6698 section 2.1)."""

PORT = 25
RECORD_LIMIT = 16
"""TLSA records of one host that are listed."""

_DIGEST = {1: hashlib.sha256, 2: hashlib.sha512}
_SHOWN_DATA = 64


def tlsa_name(host: str) -> str:
    """The owner name of a mail host's TLSA records (RFC 7672 section 2.2)."""
    return f"_{PORT}._tcp.{host}"


def examine_host(name: str, ask: Callable[[str, str], Answer]) -> HostReport:
    """Look a host up, step by step as long as something can still come of it.

    ``ask`` answers for a name and a record type. AAAA is asked only where there is no A: they have one
    owner, so one is as secure as the other.
    """
    if not is_host_name(name):
        return _host(name, False, (), reason(Code.HOST_INVALID, name))
    address = ask(name, "A")
    if address.presence is Presence.ABSENT:
        address = ask(name, "AAAA")
    if address.presence is Presence.UNKNOWN:
        return _host(name, None, (), reason(Code.ADDRESS_UNKNOWN, address.reason))
    if address.presence is Presence.ABSENT:
        return _host(name, address.secure, (), reason(Code.ADDRESS_ABSENT))
    if not address.secure:
        if address.canonical != name:
            return _host(name, False, (), reason(Code.ALIAS_INSECURE, address.canonical))
        return _host(name, False, (), reason(Code.ADDRESS_INSECURE))
    return _judge_tlsa(name, _tlsa(name, address.canonical, ask))


def _tlsa(name: str, canonical: str, ask: Callable[[str, str], Answer]) -> Answer:
    """The TLSA records that count: of an alias's target first, then of the name (RFC 7672 section 2.2.2)."""
    if canonical != name:
        answer = ask(tlsa_name(canonical), "TLSA")
        # A base domain without secure records is passed over; one that cannot be read is not.
        if answer.presence is Presence.UNKNOWN or (answer.presence is Presence.PRESENT and answer.secure):
            return answer
    return ask(tlsa_name(name), "TLSA")


def _judge_tlsa(name: str, answer: Answer) -> HostReport:
    if answer.presence is Presence.UNKNOWN:
        return _host(name, None, (), reason(Code.TLSA_UNKNOWN, answer.reason))
    if answer.presence is Presence.ABSENT:
        return _host(name, answer.secure, (), reason(Code.TLSA_ABSENT, tlsa_name(name)))
    records = tuple(cast(Tlsa, record) for record in answer.records)
    shown = tuple(show(record) for record in records[:RECORD_LIMIT])
    if not answer.secure:
        return _host(name, False, shown, reason(Code.TLSA_INSECURE))
    faults = [(record, tlsa_fault(record)) for record in records]
    ignored = tuple(
        reason(Code.TLSA_RECORD_IGNORED, f"{show(record)} ({fault})")
        for record, fault in faults[:RECORD_LIMIT]
        if fault
    )
    if all(fault for _, fault in faults):
        return _host(name, True, shown, reason(Code.TLSA_UNUSABLE), *ignored)
    return HostReport(name, True, True, shown, ignored)


def tlsa_fault(record: Tlsa) -> str:
    """Why mail cannot use a TLSA record (RFC 7672 section 3.1, RFC 6698 section 2.1); empty if it can."""
    usage, selector, matching, data = record
    if usage not in (2, 3):
        return f"usage {usage}"
    if selector not in (0, 1):
        return f"selector {selector}"
    if matching in _DIGEST:
        expected = _DIGEST[matching]().digest_size
        return "" if len(data) == expected else f"{len(data)} bytes of digest instead of {expected}"
    if matching != 0:
        return f"matching type {matching}"
    try:
        if selector == 0:
            x509.load_der_x509_certificate(data)
        else:
            load_der_public_key(data)
    except Exception:  # noqa: BLE001 — what a parser of hostile DER raises is not one documented type
        return "no certificate in DER" if selector == 0 else "no public key in DER"
    return ""


def matches(certificate: x509.Certificate, record: Tlsa) -> bool:
    """Whether a record holds this certificate or its key, whatever its usage (RFC 6698 section 2.1)."""
    _, selector, matching, data = record
    if selector not in (0, 1) or matching not in (0, *_DIGEST):
        return False
    if selector == 0:
        selected = certificate.public_bytes(Encoding.DER)
    else:
        selected = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return (_DIGEST[matching](selected).digest() if matching else selected) == data


def show(record: Tlsa) -> str:
    """In presentation form (RFC 6698 section 2.2); data longer than any digest are shortened."""
    usage, selector, matching, data = record
    more = "…" if len(data) > _SHOWN_DATA else ""
    return f"{usage} {selector} {matching} {data[:_SHOWN_DATA].hex()}{more}"


def _host(name: str, secure: bool | None, tlsa: tuple[str, ...], *reasons: Reason) -> HostReport:
    return HostReport(name, False, secure, tlsa, reasons)
