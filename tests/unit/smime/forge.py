"""CMS built by hand, right or wrong in one place, for the tests of this folder."""

from __future__ import annotations

import hashlib
import os

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from nta_milter.message.headers import HeaderField, Headers
from nta_milter.message.model import Entity
from nta_milter.smime import algorithm, key_agreement, signed, tlv
from nta_milter.smime.algorithm import encode_algorithm
from nta_milter.smime.tlv import identifier
from nta_milter.smime.transfer import encode_lines
from tests.unit.smime.persons import person

ECDSA_SHA256 = encode_algorithm(identifier("1.2.840.10045.4.3.2"))
ECDSA_SHA1 = encode_algorithm(identifier("1.2.840.10045.4.1"))
CONTENT = b"Content-Type: text/plain\r\n\r\nUitslag: goed\r\n"


def attribute(kind, *values):
    return tlv.sequence(tlv.object_identifier(kind), tlv.set_of(values))


def attributes(content=CONTENT, **replaced):
    """The usual signed attributes by name; a replacement of None leaves one out, a list gives several."""
    usual = {
        "type": attribute(signed.CONTENT_TYPE, tlv.object_identifier(algorithm.DATA)),
        "digest": attribute(signed.MESSAGE_DIGEST, tlv.octet_string(hashlib.sha256(content).digest())),
        "time": attribute(signed.SIGNING_TIME, tlv.tlv(tlv.UTC_TIME, b"261124120000Z")),
    }
    usual.update(replaced)
    found = []
    for value in usual.values():
        found += value if isinstance(value, list) else [value] if value is not None else []
    return tlv.set_of(found)


def signer_info(
    signed_attributes,
    content=CONTENT,
    kind="p256",
    digest=algorithm.SHA256,
    encoded=ECDSA_SHA256,
    hash_algorithm=None,
):
    """A SignerInfo whose signature fits: over the attributes, or over the content where there are none."""
    certificate = person(kind).certificate
    over = content if signed_attributes is None else signed_attributes
    signature = person(kind).key.sign(over, ec.ECDSA(hash_algorithm or hashes.SHA256()))
    shown = b"" if signed_attributes is None else bytes((tlv.context(0),)) + signed_attributes[1:]
    return tlv.sequence(
        tlv.integer(1),
        tlv.sequence(certificate.issuer, tlv.integer(certificate.serial)),
        encode_algorithm(digest.oid),
        shown,
        encoded,
        tlv.octet_string(signature),
    )


def signed_data(infos, content=CONTENT, kind=algorithm.DATA, certificates=("p256",)):
    """A ContentInfo with SignedData; ``content`` of None is detached."""
    inside = b"" if content is None else tlv.tlv(tlv.context(0), tlv.octet_string(content))
    value = tlv.sequence(
        tlv.integer(1),
        tlv.set_of([encode_algorithm(algorithm.SHA256.oid)]),
        tlv.sequence(tlv.object_identifier(kind), inside),
        tlv.set_of([person(name).certificate.der for name in certificates], tlv.context(0)),
        tlv.tlv(tlv.SET, *infos),
    )
    return content_info(algorithm.SIGNED_DATA, value)


def content_info(kind, value):
    return tlv.sequence(tlv.object_identifier(kind), tlv.tlv(tlv.context(0), value))


def message(cms, sender="p256@care.test", content_type=b"application/pkcs7-mime", extra=()):
    """A mail that is this CMS."""
    fields = (
        (b"From", sender.encode()),
        (b"Subject", b"Uitslag"),
        (b"Content-Type", content_type),
        (b"Content-Transfer-Encoding", b"base64"),
        *extra,
    )
    headers = Headers(tuple(HeaderField(name, b" " + value) for name, value in fields))
    return Entity(headers, encode_lines(cms))


def detached(signature, content=CONTENT, sender="p256@care.test", parts=2, after=b"--grens--\r\n"):
    """A mail that is a multipart/signed of this content and signature."""
    second = b"Content-Type: application/pkcs7-signature\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    pieces = [content, *([second + encode_lines(signature)] * (parts - 1))]
    body = b"".join(b"--grens\r\n%b\r\n" % piece for piece in pieces) + after
    kind = b' multipart/signed; protocol="application/pkcs7-signature"; boundary="grens"'
    return Entity(
        Headers((HeaderField(b"From", b" " + sender.encode()), HeaderField(b"Content-Type", kind))), body
    )


def envelope(plaintext, *, mode, name, kind="p256", tag_length=16, shown_length=16, **options):
    """An EnvelopedData or AuthEnvelopedData by ``cryptography`` itself, CBC or GCM.

    Options: ``outer`` (the ContentInfo's type), ``oid`` (another cipher's name), ``padding``, ``content``
    (the content type), ``pieces`` (encrypted content as BER chunks of this size), ``aad``.
    """
    key = os.urandom(algorithm.cipher(name).key_length)
    vector = os.urandom(12 if mode == "gcm" else 16)
    chosen = modes.GCM(vector) if mode == "gcm" else modes.CBC(vector)
    encryptor = Cipher(algorithms.AES(key), chosen).encryptor()
    attributes_shown = b""
    if options.get("aad"):
        encryptor.authenticate_additional_data(tlv.set_of(options["aad"]))
        attributes_shown = tlv.set_of(options["aad"], tlv.context(1))
    if mode == "cbc":
        count = 16 - len(plaintext) % 16
        plaintext += options.get("padding", bytes((count,)) * count)
    ciphertext = encryptor.update(plaintext) + encryptor.finalize()
    parameters = tlv.octet_string(vector)
    if mode == "gcm":
        parameters = tlv.sequence(parameters, *([tlv.integer(shown_length)] if shown_length else []))
    content = tlv.tlv(tlv.context(0, constructed=False), ciphertext)
    if size := options.get("pieces"):
        chunks = [ciphertext[at : at + size] for at in range(0, len(ciphertext), size)]
        content = b"\xa0\x80" + b"".join(map(tlv.octet_string, chunks)) + b"\x00\x00"
    inside = tlv.sequence(
        tlv.object_identifier(options.get("content", algorithm.DATA)),
        encode_algorithm(algorithm.cipher(options.get("oid", name)).oid, parameters),
        content,
    )
    certificate = person(kind).certificate
    named = tlv.sequence(certificate.issuer, tlv.integer(certificate.serial))
    info = key_agreement.write(certificate.public_key, named, key)
    tag = tlv.octet_string(encryptor.tag[:tag_length]) if mode == "gcm" else b""
    value = tlv.sequence(
        tlv.integer(0), tlv.tlv(tlv.SET, *([info] * options.get("repeat", 1))), inside, attributes_shown, tag
    )
    usual = algorithm.AUTH_ENVELOPED_DATA if mode == "gcm" else algorithm.ENVELOPED_DATA
    return content_info(options.get("outer", usual), value)
