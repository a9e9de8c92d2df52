"""Verify SignedData as S/MIME: the signature, the rules around it, and who it speaks for.

Rules: RFC 5652 section 5, RFC 8551 section 2.5, RFC 8550; the policy choices are decisions 010 to 013 in
packaging/doc/decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from nta_milter.errors import MalformedCms, UnsupportedCms
from nta_milter.smime import algorithm, tlv
from nta_milter.smime.algorithm import AlgorithmIdentifier, Digest, digest_of, hash_parameters
from nta_milter.smime.certificate import Certificate
from nta_milter.smime.compatibility import PARSE_ERRORS
from nta_milter.smime.keystore import certificate_addresses
from nta_milter.smime.limits import Work
from nta_milter.smime.report import FromMatch, SignedLayer, Status
from nta_milter.smime.signed import (
    CONTENT_TYPE,
    MESSAGE_DIGEST,
    SIGNING_CERTIFICATE,
    SIGNING_CERTIFICATE_V2,
    SIGNING_TIME,
    SMIME_CAPABILITIES,
    Signed,
    Signer,
    signing_time,
)
from nta_milter.smime.tlv import Element, identifier
from nta_milter.smime.trust import Trust

CLOCK_TOLERANCE = timedelta(hours=24)
"""How far a signing time may lie ahead: clocks are wrong by time zones (decision 012)."""

RSA_MAXIMUM = 16_384

_RSA = {
    identifier("1.2.840.113549.1.1.4"): algorithm.MD5,
    identifier("1.2.840.113549.1.1.5"): algorithm.SHA1,
    identifier("1.2.840.113549.1.1.14"): algorithm.SHA224,
    identifier("1.2.840.113549.1.1.11"): algorithm.SHA256,
    identifier("1.2.840.113549.1.1.12"): algorithm.SHA384,
    identifier("1.2.840.113549.1.1.13"): algorithm.SHA512,
    identifier("2.16.840.1.101.3.4.3.14"): algorithm.SHA3_256,
    identifier("2.16.840.1.101.3.4.3.15"): algorithm.SHA3_384,
    identifier("2.16.840.1.101.3.4.3.16"): algorithm.SHA3_512,
}
_ECDSA = {
    identifier("1.2.840.10045.4.1"): algorithm.SHA1,
    identifier("1.2.840.10045.4.3.1"): algorithm.SHA224,
    identifier("1.2.840.10045.4.3.2"): algorithm.SHA256,
    identifier("1.2.840.10045.4.3.3"): algorithm.SHA384,
    identifier("1.2.840.10045.4.3.4"): algorithm.SHA512,
    identifier("2.16.840.1.101.3.4.3.10"): algorithm.SHA3_256,
    identifier("2.16.840.1.101.3.4.3.11"): algorithm.SHA3_384,
    identifier("2.16.840.1.101.3.4.3.12"): algorithm.SHA3_512,
}
_EDDSA = {algorithm.ED25519: "ed25519"}


class _Broken(Exception):
    """The signature is wrong or breaks a rule; caught in this module."""


@dataclass(slots=True)
class _Content:
    """What is signed: raw octets in pieces, hashed once per algorithm."""

    pieces: Sequence[memoryview]
    work: Work
    digests: dict[bytes, bytes] = field(default_factory=dict)

    def digest(self, how: Digest) -> bytes:
        if how.oid not in self.digests:
            self.work.spend("octets", sum(map(len, self.pieces)))
            state = how.new()
            for piece in self.pieces:
                state.update(piece)
            self.digests[how.oid] = state.digest()
        return self.digests[how.oid]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a signature is judged by: From addresses (lower case), whom we believe, and when it arrived."""

    senders: Sequence[str]
    trust: Trust | None
    at: datetime


def verify(
    signed: Signed, content: Sequence[memoryview], circumstances: Circumstances, work: Work
) -> SignedLayer:
    """Judge a SignedData over ``content``, its raw octets in pieces.

    Of several signers, one that is wrong makes the layer bad; otherwise the best one speaks for it
    (decision 011).

    Raises:
        LimitExceeded: more work than one message is worth; nothing else, whatever the message has.
    """
    if signed.content_type != algorithm.DATA:
        kind = tlv.dotted(signed.content_type)
        return SignedLayer(status="bad", reason=f"the signed content is of type {kind}, not data")
    hashed = _Content(content, work)
    judged = [_judge(signer, signed, hashed, circumstances, work) for signer in signed.signers]
    order: dict[Status, int] = {"good": 0, "unknown": 1, "bad": 2}
    for layer, broken in judged:
        if broken:
            return layer
    return min((layer for layer, _ in judged), key=lambda layer: order[layer.status])


def _judge(
    signer: Signer, signed: Signed, content: _Content, circumstances: Circumstances, work: Work
) -> tuple[SignedLayer, bool]:
    """One signer's layer, and whether the signature itself is wrong."""
    work.spend("verifications")
    certificate = _certificate(signer, signed.certificates, circumstances.trust)
    name = digest_name = ""
    moment = None
    try:
        digest = digest_of(signer.digest.oid)
        digest_name = digest.name
        name = _signature_name(signer.signature_algorithm)
        moment = _check_attributes(signer, signed, content, digest, certificate, circumstances.at)
        if certificate is None:
            raise UnsupportedCms("the signer's certificate is neither in the message nor in our trust store")
        _check_signature(signer, content, digest, certificate)
    except UnsupportedCms as error:
        layer = SignedLayer(
            status="unknown",
            reason=error.message,
            signature=name,
            digest=digest_name,
            signer=certificate,
            from_match=_from_match(certificate, circumstances.senders),
            signing_time=moment,
        )
        return layer, False
    except (_Broken, MalformedCms) as error:
        layer = SignedLayer(
            status="bad",
            reason=str(error),
            signature=name,
            digest=digest_name,
            signer=certificate,
            from_match=_from_match(certificate, circumstances.senders),
        )
        return layer, True
    status, reason, trust, match = _opinion(certificate, digest, signed.certificates, circumstances)
    layer = SignedLayer(
        status=status,
        reason=reason,
        signature=name,
        digest=digest.name,
        signer=certificate,
        trust=trust,
        from_match=match,
        signing_time=moment,
        capabilities=_capabilities(signer),
        certificates=signed.certificates,
    )
    return layer, False


def _opinion(
    certificate: Certificate, digest: Digest, others: tuple[Certificate, ...], circumstances: Circumstances
) -> tuple[Status, str, str, FromMatch]:
    """What a right signature is worth: status, reason, trust and match with From."""
    match = _from_match(certificate, circumstances.senders)
    trust = "unknown"
    reason = "no trust anchors are given"
    if circumstances.trust is not None:
        verdict = circumstances.trust.judge(certificate, others, circumstances.at)
        trust, reason = verdict.status, verdict.reason
    if trust == "revoked":
        return "bad", reason, trust, match
    if match == "mismatch":
        return "bad", _mismatch(circumstances.senders), trust, match
    if digest.weak:
        return "unknown", f"a digest of {digest.name} is too weak", trust, match
    if trust != "trusted":
        return "unknown", reason, trust, match
    return "good", f"signed by the {match} in From", trust, match


def _mismatch(senders: Sequence[str]) -> str:
    if not senders:
        return "there is not exactly one From field with addresses that can be read"
    return "the certificate is not for every address in From"


def _from_match(certificate: Certificate | None, senders: Sequence[str]) -> FromMatch:
    """Whether a certificate is for every From address itself, or for its domain (RFC 8550 section 3)."""
    if certificate is None or not senders:
        return "mismatch"
    own = {email.lower() for email in certificate.emails}
    if all(sender in own for sender in senders):
        return "person"
    covered = certificate_addresses(certificate)
    if all(sender in own or "@" + sender.rpartition("@")[2] in covered for sender in senders):
        return "domain"
    return "mismatch"


def _certificate(
    signer: Signer, certificates: tuple[Certificate, ...], trust: Trust | None
) -> Certificate | None:
    """The signer's certificate: from the message, else from our own folder of certificates."""
    ours = () if trust is None else (*trust.anchors, *trust.intermediates)
    for certificate in (*certificates, *ours):
        if signer.identifier.names(certificate):
            return certificate
    return None


def _check_attributes(
    signer: Signer,
    signed: Signed,
    content: _Content,
    digest: Digest,
    certificate: Certificate | None,
    at: datetime,
) -> datetime | None:
    """The rules for signed attributes (RFC 5652 section 11); gives the signing time.

    Raises _Broken or MalformedCms.
    """
    if signer.signed_attributes is None:
        if _looks_like_attributes(content):
            raise _Broken("content that could pass for signed attributes, without signed attributes")
        return None
    if signer.repeated:
        raise _Broken("a signed attribute is there twice")
    kind = _single(signer, CONTENT_TYPE, "content type").object_identifier("content type")
    if kind != signed.content_type:
        raise _Broken("the signed content type is another than the content's")
    if _single(signer, MESSAGE_DIGEST, "message digest").octet_string("digest") != content.digest(digest):
        raise _Broken("the content was changed after it was signed")
    if certificate is not None:
        _check_signing_certificate(signer, certificate)
    if SIGNING_TIME not in signer.attributes:
        return None
    moment = signing_time(_single(signer, SIGNING_TIME, "signing time"))
    if moment > at + CLOCK_TOLERANCE:
        raise _Broken("the signing time lies in the future")
    return moment


def _single(signer: Signer, kind: bytes, what: str) -> Element:
    values = signer.attributes.get(kind, ())
    if len(values) != 1:
        raise _Broken(f"the signed attribute {what} has {len(values)} values instead of one")
    return values[0]


def _looks_like_attributes(content: _Content) -> bool:
    """Whether the content is itself a SET OF attributes, so that a signature over one could be reused.

    A signature without signed attributes is over the content; one with them is over their encoding. An
    attacker may present the second as the first.
    """
    whole = b"".join(content.pieces) if sum(map(len, content.pieces)) < 1 << 20 else b""
    if whole[:1] != b"\x31":
        return False
    try:
        return all(item.tag == tlv.SEQUENCE for item in tlv.parse(whole, content.work).children)
    except MalformedCms:
        return False


def _check_signing_certificate(signer: Signer, certificate: Certificate) -> None:
    """The signer's certificate must be the first that ESSCertID(v2) names (RFC 5035 section 4)."""
    for kind, default in ((SIGNING_CERTIFICATE_V2, algorithm.SHA256), (SIGNING_CERTIFICATE, algorithm.SHA1)):
        if kind not in signer.attributes:
            continue
        value = _single(signer, kind, "signing certificate").fields(tlv.SEQUENCE, "signing certificate")
        identifiers = value.next(tlv.SEQUENCE, "certificate identifiers").children
        if not identifiers:
            raise _Broken("a signing certificate attribute that names none")
        first = identifiers[0].fields(tlv.SEQUENCE, "certificate identifier")
        digest = default
        named = first.next()
        if kind == SIGNING_CERTIFICATE_V2 and named.tag == tlv.SEQUENCE:
            digest = digest_of(algorithm.algorithm_identifier(named, "certificate digest").oid)
            named = first.next()
        if named.octet_string("certificate digest") != digest.new(certificate.der).digest():
            raise _Broken("the signature names another certificate than the one in the message")


def _capabilities(signer: Signer) -> bytes | None:
    values = signer.attributes.get(SMIME_CAPABILITIES, ())
    return bytes(values[0].raw) if len(values) == 1 else None


def _signature_name(found: AlgorithmIdentifier) -> str:
    if found.oid == algorithm.RSASSA_PSS:
        return "rsassa-pss"
    if found.oid == algorithm.RSA_ENCRYPTION or found.oid in _RSA:
        return "rsassa-pkcs1-v1_5"
    if found.oid in _ECDSA:
        return "ecdsa"
    if found.oid in _EDDSA:
        return _EDDSA[found.oid]
    raise UnsupportedCms(f"unknown signature algorithm {tlv.dotted(found.oid)}")


def _check_signature(signer: Signer, content: _Content, digest: Digest, certificate: Certificate) -> None:
    """The signature itself; raises _Broken, MalformedCms or UnsupportedCms."""
    key: Any = certificate.public_key
    found = signer.signature_algorithm
    arguments: tuple[Any, ...]
    if found.oid in _EDDSA:
        if digest != algorithm.SHA512:
            raise _Broken("Ed25519 with another digest than SHA-512")
        expected: tuple[type, ...] = (ed25519.Ed25519PublicKey,)
        arguments = (signer.signed_attributes or b"".join(content.pieces),)
    else:
        over, how = _prehashed(signer, content, digest)
        expected, arguments = _arguments(found, digest, over, how)
    if not isinstance(key, expected):
        raise _Broken("the signature is by another type of key than the certificate's")
    if isinstance(key, rsa.RSAPublicKey) and key.key_size > RSA_MAXIMUM:
        raise UnsupportedCms(f"an RSA key of {key.key_size} bits")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name not in algorithm.CURVES:
        raise UnsupportedCms(f"curve {key.curve.name}")
    try:
        certificate.public_key.verify(signer.signature, *arguments)
    except InvalidSignature:
        raise _Broken("the signature does not fit the content and the certificate") from None
    except PARSE_ERRORS as error:
        raise UnsupportedCms(f"the signature cannot be checked ({type(error).__name__})") from None


def _prehashed(signer: Signer, content: _Content, digest: Digest) -> tuple[bytes, Any]:
    """What is signed, and the hash to tell cryptography: attributes are hashed by it, content by us."""
    if signer.signed_attributes is not None:
        return signer.signed_attributes, digest.primitive()
    return content.digest(digest), Prehashed(digest.primitive())


def _arguments(
    found: AlgorithmIdentifier, digest: Digest, over: bytes, how: Any
) -> tuple[tuple[type, ...], tuple[Any, ...]]:
    """The type of key and the arguments of its verify, signature left out."""
    if found.oid in _ECDSA:
        if _ECDSA[found.oid] != digest:
            raise _Broken("the signature algorithm has another digest than the signer")
        return (ec.EllipticCurvePublicKey,), (over, ec.ECDSA(how))
    if found.oid == algorithm.RSASSA_PSS:
        found_parameters = hash_parameters(found.parameters, "RSASSA-PSS parameters")
        if found_parameters.digest != digest:
            raise _Broken("the signature algorithm has another digest than the signer")
        mask = padding.MGF1(found_parameters.mask.primitive())
        return (rsa.RSAPublicKey,), (over, padding.PSS(mask, found_parameters.salt_length), how)
    if _RSA.get(found.oid, digest) != digest:
        raise _Broken("the signature algorithm has another digest than the signer")
    return (rsa.RSAPublicKey,), (over, padding.PKCS1v15(), how)
