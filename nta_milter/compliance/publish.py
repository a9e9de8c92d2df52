"""The lines that an organisation publishes in its own zones: record, TLSA and SMIMEA."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nta_milter.compliance.codes import Code
from nta_milter.compliance.dane import tlsa_name
from nta_milter.compliance.record import read_records
from nta_milter.errors import ConfigurationError
from nta_milter.lookup.name import domain_name, is_host_name

TTL = 86_400
"""Seconds; what the agreement's example has."""

_STRING = 255


@dataclass(frozen=True, slots=True)
class Line:
    """One resource record: owner name without a trailing dot, type, and RDATA in presentation form."""

    name: str
    rdtype: str
    data: str

    def __str__(self) -> str:
        return f"{self.name}. {TTL} IN {self.rdtype} {self.data}"


def record_line(
    domain: str, *, startdate: str, enddate: str, provider: str | None, ntamx: Sequence[str]
) -> Line:
    """The NTA 7516 record; each ``ntamx`` is ``PREFERENCE HOST``.

    Raises ConfigurationError when it would not be accepted as a record by our own reader.
    """
    fields = ["v=NTA7516-1", f"startdate={startdate}", f"enddate={enddate}"]
    if provider:
        fields.append(f"provider={provider}")
    fields += [f"ntamx={each}" for each in ntamx]
    text = ";".join(fields)
    reading = read_records([text.encode()])
    # A semicolon in a value makes a field of its own: unknown ones and doubled hosts are faults here.
    faults = [each.text for each in reading.reasons if each.code != Code.PROVIDER_MISSING.value]
    if faults or reading.record is None or reading.record.provider != (provider or None):
        raise ConfigurationError("; ".join(faults) or "provider cannot be written so", where="record")
    return text_line(_domain(domain), text)


def text_line(name: str, text: str) -> Line:
    """A TXT record, its text in character-strings of at most 255 bytes (RFC 1035 section 3.3.14)."""
    data = text.encode()
    pieces = (data[at : at + _STRING] for at in range(0, len(data), _STRING))
    return Line(name, "TXT", " ".join(_quoted(piece) for piece in pieces))


def tlsa_line(host: str, certificate: x509.Certificate) -> Line:
    """``3 1 1``: the digest of the host's own key, which outlives a renewal that keeps the key."""
    name = host.lower().removesuffix(".")
    if not is_host_name(name):
        raise ConfigurationError(f"{host!r} is not a host name", where="tlsa")
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Line(tlsa_name(name), "TLSA", f"3 1 1 {hashlib.sha256(key).hexdigest()}")


def smimea_name(address: str) -> str:
    """The owner name of an address's SMIMEA records (RFC 8162 section 3); raises ConfigurationError."""
    local, at, domain = address.rpartition("@")
    if not (at and local):
        raise ConfigurationError(f"{address!r} is not an address", where="smimea")
    if local[:1] == local[-1:] == '"' and len(local) > 2:
        local = local[1:-1].replace("\\", "")
    digest = hashlib.sha256(local.encode()).digest()[:28]
    return f"{digest.hex()}._smimecert.{_domain(domain)}"


def smimea_line(address: str, certificate: x509.Certificate) -> Line:
    """``3 0 0``: the whole certificate, so that a sender can also find it there."""
    return Line(smimea_name(address), "SMIMEA", f"3 0 0 {certificate.public_bytes(Encoding.DER).hex()}")


def read_certificate(path: Path) -> x509.Certificate:
    """The first certificate of a PEM or DER file; raises ConfigurationError."""
    try:
        data = path.read_bytes()
        if b"-----BEGIN" in data:
            return x509.load_pem_x509_certificate(data)
        return x509.load_der_x509_certificate(data)
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except ValueError as error:
        raise ConfigurationError("holds no certificate in PEM or DER", where=str(path)) from error


def names(certificate: x509.Certificate) -> tuple[list[str], list[str]]:
    """The host names and the addresses that a certificate carries (RFC 5280 section 4.2.1.6)."""
    try:
        carried = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return [], []
    hosts = [name.lower() for name in carried.get_values_for_type(x509.DNSName)]
    return [name for name in hosts if is_host_name(name)], carried.get_values_for_type(x509.RFC822Name)


def _domain(text: str) -> str:
    name = domain_name(text)
    if name is None:
        raise ConfigurationError(f"{text!r} is not a domain", where="domain")
    return name


def _quoted(piece: bytes) -> str:
    letters = (chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03d}" for byte in piece)
    return '"' + "".join(letters) + '"'
