"""X.509 certificates (RFC 5280) as S/MIME (RFC 8550) looks at them: parsed once, frozen, never a surprise."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from asn1crypto import core, pem, x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x448, x25519

from nta_milter.errors import CertificateError, KeyStoreError
from nta_milter.smime.compatibility import PARSE_ERRORS

EMAIL_PROTECTION = "1.3.6.1.5.5.7.3.4"
ANY_EXTENDED_KEY_USAGE = "2.5.29.37.0"

SIZE_LIMIT = 65_536
"""Longest certificate that we parse, in bytes; real ones have one to three thousand."""

FILE_LIMIT = 16_777_216
"""Largest file of certificates, in bytes."""

ENCRYPTION_CURVES = frozenset(
    {"secp256r1", "secp384r1", "secp521r1", "brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1"}
)
RSA_MINIMUM, RSA_MAXIMUM = 2048, 16_384

_SUBJECT_KEY_IDENTIFIER = "2.5.29.14"
_KEY_USAGE = "2.5.29.15"
_SUBJECT_ALT_NAME = "2.5.29.17"
_BASIC_CONSTRAINTS = "2.5.29.19"
_EXTENDED_KEY_USAGE = "2.5.29.37"
_UNDERSTOOD = frozenset(
    {
        _SUBJECT_KEY_IDENTIFIER,
        _KEY_USAGE,
        _SUBJECT_ALT_NAME,
        _BASIC_CONSTRAINTS,
        _EXTENDED_KEY_USAGE,
        "2.5.29.30",  # name constraints, of issuers: checked by OpenSSL
        "2.5.29.32",  # certificate policies: no policy is asked for
        "2.5.29.33",  # policy mappings
        "2.5.29.36",  # policy constraints
        "2.5.29.54",  # inhibit anyPolicy
    }
)
_SMTP_UTF8_MAILBOX = "1.3.6.1.5.5.7.8.9"
_EMAIL_ADDRESS_ATTRIBUTE = "1.2.840.113549.1.9.1"

_KEY_USAGE_NAMES = (
    "digitalSignature",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
)
_ATTRIBUTE_NAMES = {
    "2.5.4.3": "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "title",
    "2.5.4.42": "GN",
    "2.5.4.97": "organizationIdentifier",
    "0.9.2342.19200300.100.1.25": "DC",
    _EMAIL_ADDRESS_ATTRIBUTE: "emailAddress",
}


_KEY_TYPES = frozenset(
    ("rsa", "rsassa_pss", "rsaes_oaep", "ec", "x25519", "x448", "ed25519", "ed448", "dsa")
)  # of others cryptography warns on standard error


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate; two are equal when their bytes are.

    ``issuer`` and ``subject_name`` are DER Names exactly as encoded, ``subject`` is for people (RFC 4514,
    at most 500 characters, no control characters). ``emails`` are the rfc822Names and SmtpUTF8Mailboxes of
    the subjectAltName, then the emailAddress attributes of the subject, domains in lower case.
    ``key_usage`` has the names of RFC 5280 section 4.2.1.3, ``extended_key_usage`` dotted object
    identifiers; None = the extension is absent. ``algorithm`` is the subject public key's: ``rsa``,
    ``rsassa_pss``, ``rsaes_oaep``, ``ec``, ``x25519``, ``x448``, ``ed25519``, ``ed448``, ``dsa``.
    ``signature_hash`` is the digest that its issuer signed with, ``sha256`` or so, empty if not known.
    ``unknown_critical`` are critical extensions that we do not process.
    """

    der: bytes = field(repr=False)
    issuer: bytes = field(compare=False, repr=False)
    serial: int = field(compare=False)
    subject_key_identifier: bytes | None = field(compare=False, repr=False)
    subject: str = field(compare=False)
    subject_name: bytes = field(compare=False, repr=False)
    emails: tuple[str, ...] = field(compare=False)
    dns_names: tuple[str, ...] = field(compare=False)
    not_before: datetime = field(compare=False)
    not_after: datetime = field(compare=False)
    public_key: Any = field(compare=False, repr=False)
    public_key_der: bytes = field(compare=False, repr=False)
    algorithm: str = field(compare=False)
    key_usage: frozenset[str] | None = field(compare=False)
    extended_key_usage: frozenset[str] | None = field(compare=False)
    is_authority: bool = field(compare=False)
    signature_hash: str = field(compare=False)
    unknown_critical: tuple[str, ...] = field(compare=False)

    @classmethod
    def from_der(cls, data: bytes) -> Certificate:
        """Parse one DER certificate; raises CertificateError, whatever the bytes are."""
        return _from_der(bytes(data))

    @classmethod
    def from_pem(cls, data: bytes) -> Certificate:
        """Parse the first PEM certificate in ``data``; raises CertificateError."""
        for certificate in certificates_from_pem(data):
            return certificate
        raise CertificateError("no PEM certificate (-----BEGIN CERTIFICATE-----) found")

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the DER, 64 hexadecimal digits."""
        return hashlib.sha256(self.der).hexdigest()

    def valid_at(self, at: datetime) -> bool:
        """Whether ``at`` (aware) lies in the validity period, ends included (RFC 5280 section 4.1.2.5)."""
        return self.not_before <= at <= self.not_after

    def for_email(self) -> bool:
        """Whether the extended key usage allows e-mail (RFC 8550 section 4.4.4; absent = allowed)."""
        return self.extended_key_usage is None or not self.extended_key_usage.isdisjoint(
            {EMAIL_PROTECTION, ANY_EXTENDED_KEY_USAGE}
        )

    def may_sign(self) -> bool:
        """Whether the key and its usage are for signing mail (RFC 8550 section 4.4.2)."""
        return (
            self.algorithm in {"rsa", "rsassa_pss", "ec", "ed25519", "ed448"}
            and self.for_email()
            and (
                self.key_usage is None
                or not self.key_usage.isdisjoint({"digitalSignature", "nonRepudiation"})
            )
        )

    def pem(self) -> bytes:
        """The certificate in PEM (RFC 7468)."""
        armored: bytes = pem.armor("CERTIFICATE", self.der)
        return armored


@dataclass(frozen=True, slots=True)
class RecipientCertificate:
    """A recipient's certificate and what is proven that its owner can read.

    ``key_transport`` matters for RSA only. ``cipher`` is the content encryption that the owner is known to
    read (SMIMECapabilities or configuration), None = the configured default. The class steers the route:
    ``gateway`` (configured for the whole domain), ``configured`` (for the address), ``personal``
    (harvested, LDAP or SMIMEA). ``bound_keys``: its owner announces RFC 9709.
    """

    certificate: Certificate
    key_transport: Literal["v15", "oaep"] = "v15"
    cipher: str | None = None
    certificate_class: Literal["gateway", "configured", "personal"] = "configured"
    bound_keys: bool = False

    def usable_at(self, at: datetime) -> None:
        """Return when mail may be encrypted to it at ``at``, else raise CertificateError saying why not."""
        certificate = self.certificate
        reason = _not_usable(certificate, at)
        if reason:
            raise CertificateError(reason, where=f"certificate of {certificate.subject or '(no name)'}")


def certificates_from_pem(data: bytes) -> Iterator[Certificate]:
    """Parse every certificate of a PEM file, in order; raises CertificateError on a bad one."""
    try:
        blocks = list(pem.unarmor(data, multiple=True)) if pem.detect(data) else []
    except PARSE_ERRORS as error:
        raise CertificateError(f"the PEM text is damaged ({error})") from error
    for name, _, der in blocks:
        if name in {"CERTIFICATE", "X509 CERTIFICATE"}:
            yield Certificate.from_der(der)


def certificates_from_file(file: Path) -> tuple[Certificate, ...]:
    """Every certificate of a PEM file, or the one of a DER file; raises KeyStoreError naming the file."""
    try:
        if file.stat().st_size > FILE_LIMIT:
            raise KeyStoreError(f"larger than {FILE_LIMIT} bytes", where=str(file))
        data = file.read_bytes()
        certificates = (
            (Certificate.from_der(data),) if data.startswith(b"\x30") else tuple(certificates_from_pem(data))
        )
    except OSError as error:
        raise KeyStoreError(f"cannot be read ({error.strerror})", where=str(file)) from error
    except CertificateError as error:
        raise KeyStoreError(error.message, where=str(file)) from error
    if not certificates:
        raise KeyStoreError("the file holds no certificate", where=str(file))
    return certificates


def _not_usable(certificate: Certificate, at: datetime) -> str:
    """Why mail may not be encrypted to ``certificate``; empty = it may."""
    if at > certificate.not_after:
        return f"expired on {certificate.not_after:%Y-%m-%d}; an expired certificate never encrypts"
    if at < certificate.not_before:
        return f"not valid before {certificate.not_before:%Y-%m-%d}"
    if certificate.unknown_critical:
        return f"critical extension {certificate.unknown_critical[0]} is not understood"
    if not certificate.for_email():
        return "its extended key usage does not allow e-mail (emailProtection)"
    key = certificate.public_key
    if isinstance(key, rsa.RSAPublicKey) and certificate.algorithm in {"rsa", "rsaes_oaep"}:
        if not RSA_MINIMUM <= key.key_size <= RSA_MAXIMUM:
            return f"RSA key of {key.key_size} bits; {RSA_MINIMUM} to {RSA_MAXIMUM} are accepted"
        needed = "keyEncipherment"
    elif isinstance(key, x25519.X25519PublicKey | x448.X448PublicKey) or (
        isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in ENCRYPTION_CURVES
    ):
        needed = "keyAgreement"
    elif isinstance(key, ec.EllipticCurvePublicKey):
        return f"curve {key.curve.name} is not used for encryption"
    else:
        return f"a key of type {certificate.algorithm} cannot encrypt"
    if certificate.key_usage is not None and needed not in certificate.key_usage:
        return f"its key usage does not allow {needed}"
    return ""


@lru_cache(maxsize=1024)
def _from_der(data: bytes) -> Certificate:
    if len(data) > SIZE_LIMIT:
        raise CertificateError(f"certificate of {len(data)} bytes; at most {SIZE_LIMIT} are read")
    try:
        return _parse(data)
    except PARSE_ERRORS as error:
        raise CertificateError(f"not a certificate that we can read ({first_line(error)})") from error


def _parse(data: bytes) -> Certificate:
    parsed = x509.Certificate.load(data, strict=True)
    tbs = parsed["tbs_certificate"]
    serial = tbs["serial_number"].native
    if not 0 < serial < 1 << 168:
        raise ValueError("the serial number is not a positive integer of at most 20 octets")
    if tbs["signature"].dump() != parsed["signature_algorithm"].dump():
        raise ValueError("the two signature algorithms differ")
    extensions = _extensions(tbs["extensions"])
    alternative = _general_names(extensions[_SUBJECT_ALT_NAME][1]) if _SUBJECT_ALT_NAME in extensions else []
    subject = tbs["subject"]
    attributes = [item for rdn in subject.chosen for item in rdn]
    emails = [value for kind, value in alternative if kind == "email"]
    emails += [_text(item["value"]) for item in attributes if item["type"].dotted == _EMAIL_ADDRESS_ATTRIBUTE]
    public_key_info = tbs["subject_public_key_info"]
    public_key_der = public_key_info.dump()
    algorithm = public_key_info["algorithm"]["algorithm"].native
    return Certificate(
        der=data,
        issuer=tbs["issuer"].dump(),
        serial=serial,
        subject_key_identifier=_native(extensions, _SUBJECT_KEY_IDENTIFIER, core.OctetString),
        subject=_readable(subject),
        subject_name=subject.dump(),
        emails=_addresses(emails),
        dns_names=tuple(
            dict.fromkeys(value.lower().rstrip(".") for kind, value in alternative if kind == "dns")
        ),
        not_before=_time(tbs["validity"]["not_before"].native),
        not_after=_time(tbs["validity"]["not_after"].native),
        public_key=_public_key(public_key_info, public_key_der),
        public_key_der=public_key_der,
        algorithm=algorithm,
        key_usage=_key_usage(extensions),
        extended_key_usage=_extended_key_usage(extensions),
        is_authority=_is_authority(extensions),
        signature_hash=_signature_hash(parsed["signature_algorithm"]),
        unknown_critical=tuple(
            oid for oid, (critical, _) in extensions.items() if critical and oid not in _UNDERSTOOD
        ),
    )


def _extensions(parsed: Any) -> dict[str, tuple[bool, bytes]]:
    """Critical flag and value by object identifier; each may be there once (RFC 5280 section 4.2)."""
    found: dict[str, tuple[bool, bytes]] = {}
    for extension in () if isinstance(parsed, core.Void) else parsed:
        oid = extension["extn_id"].dotted
        if oid in found:
            raise ValueError(f"extension {oid} is there twice")
        found[oid] = (bool(extension["critical"].native), extension["extn_value"].contents)
    return found


def _native(extensions: dict[str, tuple[bool, bytes]], oid: str, spec: Any) -> Any:
    return spec.load(extensions[oid][1], strict=True).native if oid in extensions else None


def _general_names(data: bytes) -> list[tuple[str, str]]:
    names = []
    for name in x509.GeneralNames.load(data, strict=True):
        if name.name == "rfc822_name":
            names.append(("email", _text(name.chosen)))
        elif name.name == "dns_name":
            names.append(("dns", _text(name.chosen)))
        elif name.name == "other_name" and name.chosen["type_id"].dotted == _SMTP_UTF8_MAILBOX:
            mailbox = name.chosen["value"].parse(core.UTF8String)
            names.append(("email", mailbox.native))
    return names


def _text(value: Any) -> str:
    """The characters as encoded: asn1crypto would turn A-labels into U-labels."""
    contents = value.contents
    return contents.decode("ascii") if isinstance(contents, bytes) else ""


def _addresses(found: list[str]) -> tuple[str, ...]:
    """Mail addresses without repeats; what has no local part, no domain or odd characters is none."""
    addresses = []
    for text in found:
        local, at, domain = text.rpartition("@")
        if at and local and domain and not any(c <= " " or c in '<>"(),:;\\\x7f' for c in text):
            addresses.append(f"{local}@{domain.lower()}")
    return tuple(dict.fromkeys(addresses))


def _key_usage(extensions: dict[str, tuple[bool, bytes]]) -> frozenset[str] | None:
    bits = _native(extensions, _KEY_USAGE, core.BitString)
    return (
        None if bits is None else frozenset(n for n, bit in zip(_KEY_USAGE_NAMES, bits, strict=False) if bit)
    )


def _extended_key_usage(extensions: dict[str, tuple[bool, bytes]]) -> frozenset[str] | None:
    if _EXTENDED_KEY_USAGE not in extensions:
        return None
    parsed = x509.ExtKeyUsageSyntax.load(extensions[_EXTENDED_KEY_USAGE][1], strict=True)
    return frozenset(purpose.dotted for purpose in parsed)


def _is_authority(extensions: dict[str, tuple[bool, bytes]]) -> bool:
    constraints = _native(extensions, _BASIC_CONSTRAINTS, x509.BasicConstraints)
    return bool(constraints and constraints["ca"])


def _public_key(info: Any, der: bytes) -> Any:
    kind = info["algorithm"]["algorithm"].native
    if kind not in _KEY_TYPES:
        raise ValueError(f"a public key of type {kind}")
    if kind == "rsaes_oaep":
        # RFC 4055 section 1.2: an RSA key that says what it is for; OpenSSL knows it as plain RSA only.
        plain = info.copy()
        plain["algorithm"] = {"algorithm": "rsa"}
        der = plain.dump(force=True)
    return serialization.load_der_public_key(der)


def _signature_hash(algorithm: Any) -> str:
    try:
        return str(algorithm.hash_algo)
    except PARSE_ERRORS:
        return ""


def _time(value: Any) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError("a validity time is not a UTC time")
    return value


def _readable(name: Any) -> str:
    """RFC 4514, most specific first, with control characters escaped: it goes into logs."""
    parts = []
    for rdn in reversed(list(name.chosen)):
        pairs = []
        for item in rdn:
            oid = item["type"].dotted
            try:
                value = item["value"].native
            except PARSE_ERRORS:
                value = None
            text = value if isinstance(value, str) else "#" + item["value"].dump().hex()
            pairs.append(f"{_ATTRIBUTE_NAMES.get(oid, oid)}={_escape(text)}")
        parts.append("+".join(pairs))
    return ",".join(parts)[:500]


def _escape(text: str) -> str:
    escaped = "".join(
        "\\" + c if c in '",+;<>\\' else c if c.isprintable() else "".join(f"\\{b:02X}" for b in c.encode())
        for c in text
    )
    return "\\" + escaped if escaped.startswith((" ", "#")) else escaped


def first_line(error: Exception) -> str:
    """The first line of a library's message, without the multi-line context that asn1crypto adds."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
