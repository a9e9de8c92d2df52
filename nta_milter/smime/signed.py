"""Read SignedData (RFC 5652 section 5): the structure, its attributes, and nothing believed yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from nta_milter.errors import CertificateError, MalformedCms
from nta_milter.smime import tlv
from nta_milter.smime.algorithm import AlgorithmIdentifier, algorithm_identifier
from nta_milter.smime.certificate import Certificate
from nta_milter.smime.envelope import Identifier, issuer_and_serial
from nta_milter.smime.limits import Work
from nta_milter.smime.tlv import Element, identifier

CONTENT_TYPE = identifier("1.2.840.113549.1.9.3")
MESSAGE_DIGEST = identifier("1.2.840.113549.1.9.4")
SIGNING_TIME = identifier("1.2.840.113549.1.9.5")
SMIME_CAPABILITIES = identifier("1.2.840.113549.1.9.15")
SIGNING_CERTIFICATE = identifier("1.2.840.113549.1.9.16.2.12")
SIGNING_CERTIFICATE_V2 = identifier("1.2.840.113549.1.9.16.2.47")


@dataclass(frozen=True, slots=True)
class Signer:
    """A SignerInfo. ``signed_attributes`` is what the signature is over, as DER; None when there are none."""

    identifier: Identifier
    digest: AlgorithmIdentifier
    signed_attributes: bytes | None
    attributes: dict[bytes, tuple[Element, ...]]
    repeated: bool
    signature_algorithm: AlgorithmIdentifier
    signature: bytes


@dataclass(frozen=True, slots=True)
class Signed:
    """A SignedData. ``content`` is None where the content is elsewhere (multipart/signed) or missing."""

    content_type: bytes
    content: tuple[memoryview, ...] | None
    certificates: tuple[Certificate, ...]
    signers: tuple[Signer, ...]


def read(content: Element, work: Work) -> Signed:
    """Read a SignedData; certificates that cannot be read are left out.

    Raises:
        MalformedCms: not what the RFC says.
        LimitExceeded: too many certificates, signers, attributes or values.
    """
    fields = content.fields(tlv.SEQUENCE, "signed data")
    fields.next().integer("version")
    fields.next(tlv.SET, "digest algorithms")
    encapsulated = fields.next().fields(tlv.SEQUENCE, "encapsulated content")
    kind = encapsulated.next().object_identifier("content type")
    explicit = encapsulated.optional(tlv.context(0))
    encapsulated.finish()
    pieces = None
    if explicit is not None:
        if len(explicit.children) != 1:
            raise MalformedCms("an encapsulated content that is not one OCTET STRING")
        pieces = tuple(explicit.children[0].octets("encapsulated content"))
        work.spend("octets", sum(map(len, pieces)))
    found = fields.optional(tlv.context(0))
    certificates = tuple(_certificates(found, work)) if found is not None else ()
    fields.optional(tlv.context(1))
    infos = fields.next(tlv.SET, "signer infos").children
    fields.finish()
    work.spend("signers", len(infos))
    return Signed(kind, pieces, certificates, tuple(_signer(info, work) for info in infos))


def _certificates(choices: Element, work: Work) -> Iterator[Certificate]:
    for choice in choices.children:
        work.spend("certificates")
        if choice.tag != tlv.SEQUENCE:
            continue  # attribute and other certificates say nothing about a mail's signer
        try:
            yield Certificate.from_der(bytes(choice.raw))
        except CertificateError:
            continue


def _signer(info: Element, work: Work) -> Signer:
    fields = info.fields(tlv.SEQUENCE, "signer info")
    fields.next().integer("version")
    named = fields.next()
    if named.tag & ~tlv.CONSTRUCTED == tlv.context(0, constructed=False):
        key_identifier = named.octet_string("key identifier", tlv.context(0, constructed=False))
        signer = Identifier(None, 0, key_identifier)
    else:
        signer = issuer_and_serial(named)
    digest = algorithm_identifier(fields.next(), "digest algorithm")
    signed = fields.optional(tlv.context(0))
    algorithm = algorithm_identifier(fields.next(), "signature algorithm")
    signature = fields.next().octet_string("signature")
    fields.optional(tlv.context(1))
    fields.finish()
    attributes: dict[bytes, tuple[Element, ...]] = {}
    repeated = False
    over = None
    if signed is not None:
        over = bytes((tlv.SET,)) + signed.der()[1:]
        for attribute in signed.children:
            work.spend("attributes")
            pair = attribute.fields(tlv.SEQUENCE, "signed attribute")
            kind = pair.next().object_identifier("attribute type")
            values = pair.next(tlv.SET, "attribute values").children
            pair.finish()
            repeated |= kind in attributes
            attributes[kind] = tuple(values)
    return Signer(signer, digest, over, attributes, repeated, algorithm, signature)


def signing_time(element: Element) -> datetime:
    """Read a Time (RFC 5652 section 11.3), UTCTime until 2049.

    Raises:
        MalformedCms: any other form than ``YYMMDDHHMMSSZ`` or ``YYYYMMDDHHMMSSZ``, or no such moment.
    """
    text = bytes(element.contents).decode("latin-1")
    digits = {tlv.UTC_TIME: 12, tlv.GENERALIZED_TIME: 14}.get(element.tag)
    if digits is None or len(text) != digits + 1 or text[-1] != "Z" or not text[:-1].isascii():
        raise MalformedCms("a signing time that is not UTC with seconds")
    if not text[:-1].isdigit():
        raise MalformedCms("a signing time that is not UTC with seconds")
    if digits == 12:
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise MalformedCms("a signing time that is no moment") from error
