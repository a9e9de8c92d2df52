import hashlib

import pytest
from asn1crypto import x509
from cryptography.hazmat.primitives import hashes

from nta_milter.errors import LimitExceeded, MalformedCms, OpenFailed
from nta_milter.message.model import Entity
from nta_milter.smime import algorithm, signed, tlv
from nta_milter.smime.algorithm import encode_algorithm
from nta_milter.smime.limits import Limits, Work
from nta_milter.smime.mime import LOOKS
from nta_milter.smime.open import open_message
from nta_milter.smime.trust import Trust
from tests.unit.smime import forge
from tests.unit.smime.forge import attribute, attributes, detached, message, signed_data, signer_info
from tests.unit.smime.persons import NOW, person, ring, trust


def opened(mail, **options):
    return open_message(mail.headers, mail.body, ring(), trust(), at=NOW, **options)


def judged(infos, **options):
    found = opened(message(signed_data(infos, **options)))
    assert found.opened, found.error
    return found.layers[0]


def test_what_is_built_by_hand_is_good():
    layer = judged([signer_info(attributes())])
    assert (layer.status, layer.reason) == ("good", "signed by the person in From")


TWICE = {
    "a content type attribute that is missing": {"type": None},
    "a content type attribute that is there twice": {
        "type": [attribute(signed.CONTENT_TYPE, tlv.object_identifier(algorithm.DATA))] * 2
    },
    "a content type of two values": {
        "type": attribute(signed.CONTENT_TYPE, *[tlv.object_identifier(algorithm.DATA)] * 2)
    },
    "another content type": {
        "type": attribute(signed.CONTENT_TYPE, tlv.object_identifier(algorithm.SIGNED_DATA))
    },
    "a digest that is missing": {"digest": None},
    "a digest that is there twice": {
        "digest": [
            attribute(signed.MESSAGE_DIGEST, tlv.octet_string(hashlib.sha256(forge.CONTENT).digest())),
            attribute(signed.MESSAGE_DIGEST, tlv.octet_string(b"x" * 32)),
        ]
    },
    "a digest of two values": {
        "digest": attribute(
            signed.MESSAGE_DIGEST,
            tlv.octet_string(hashlib.sha256(forge.CONTENT).digest()),
            tlv.octet_string(b"x" * 32),
        )
    },
    "another digest": {"digest": attribute(signed.MESSAGE_DIGEST, tlv.octet_string(b"x" * 32))},
    "a digest without values": {"digest": attribute(signed.MESSAGE_DIGEST)},
    "a time that is there twice": {
        "time": [attribute(signed.SIGNING_TIME, tlv.tlv(tlv.UTC_TIME, b"261124120000Z"))] * 2
    },
    "a certificate that is another": {
        "more": attribute(
            signed.SIGNING_CERTIFICATE_V2,
            tlv.sequence(tlv.sequence(tlv.sequence(tlv.octet_string(b"y" * 32)))),
        )
    },
    "a certificate attribute that names none": {
        "more": attribute(signed.SIGNING_CERTIFICATE_V2, tlv.sequence(tlv.sequence()))
    },
}


@pytest.mark.parametrize("replaced", TWICE.values(), ids=TWICE.keys())
def test_attributes_that_break_a_rule_are_bad(replaced):
    layer = judged([signer_info(attributes(**replaced))])
    assert layer.status == "bad", layer.reason


@pytest.mark.parametrize(
    "moment",
    [
        b"261124120000",
        b"2611241200Z",
        b"261124120000+0100",
        b"261324120000Z",
        b"26112412000aZ",
        b"",
        b"\xb2" * 13,
    ],
)
def test_a_malformed_signing_time_is_bad(moment):
    value = attribute(signed.SIGNING_TIME, tlv.tlv(tlv.UTC_TIME, moment))
    assert judged([signer_info(attributes(time=value))]).status == "bad"


@pytest.mark.parametrize(
    ("tag", "moment", "year"),
    [(tlv.UTC_TIME, b"500101000000Z", 1950), (tlv.GENERALIZED_TIME, b"20250101000000Z", 2025)],
)
def test_times_of_both_forms_are_read(tag, moment, year):
    value = attribute(signed.SIGNING_TIME, tlv.tlv(tag, moment))
    layer = judged([signer_info(attributes(time=value))])
    assert (layer.status, layer.signing_time.year) == ("good", year)


def test_signing_certificates_of_both_versions_are_checked():
    der = person("p256").certificate.der
    first = attribute(
        signed.SIGNING_CERTIFICATE,
        tlv.sequence(tlv.sequence(tlv.sequence(tlv.octet_string(hashlib.sha1(der).digest())))),
    )
    second = attribute(
        signed.SIGNING_CERTIFICATE_V2,
        tlv.sequence(
            tlv.sequence(
                tlv.sequence(
                    encode_algorithm(algorithm.SHA512.oid), tlv.octet_string(hashlib.sha512(der).digest())
                )
            )
        ),
    )
    assert judged([signer_info(attributes(more=[first, second]))]).status == "good"


def test_a_signature_without_attributes_is_over_the_content():
    assert judged([signer_info(None)]).status == "good"
    layer = judged([signer_info(None, content=b"other")])
    assert (layer.status, layer.reason) == (
        "bad",
        "the signature does not fit the content and the certificate",
    )


def test_attributes_do_not_pass_for_content():
    stolen = attributes()
    layer = judged([signer_info(None, content=stolen)], content=stolen)
    assert layer.status == "bad"
    assert "could pass for signed attributes" in layer.reason


def test_content_that_is_not_data_is_bad():
    layer = judged([signer_info(attributes())], kind=algorithm.ENVELOPED_DATA)
    assert layer.status == "bad"


def test_a_multipart_signed_whose_signature_has_content_is_bad():
    info = signer_info(attributes())
    assert opened(detached(signed_data([info], content=None))).signature == "good"
    found = opened(detached(signed_data([info])))
    assert found.signature == "bad"
    assert bytes(found.entity).endswith(b"Uitslag: goed\r\n")


@pytest.mark.parametrize("after", [b"--grens\r\n\r\nmore\r\n--grens--\r\n", b"--grens\r\n"])
def test_a_multipart_signed_of_three_parts_is_not_opened(after):
    found = opened(detached(signed_data([signer_info(attributes())], content=None), after=after))
    assert not found.opened
    assert "two parts" in str(found.error)


@pytest.mark.parametrize("after", [b"", b"--grens--", b"--grens--  \r\nepilogue --grens\r\n"])
def test_a_multipart_signed_may_lack_its_end(after):
    mail = detached(signed_data([signer_info(attributes())], content=None), after=after)
    assert opened(mail).signature == "good"


def test_a_multipart_signed_is_found_in_a_mapped_body_too():
    mail = detached(signed_data([signer_info(attributes())], content=None))
    assert opened(Entity(mail.headers, memoryview(bytes(mail.body)))).signature == "good"


def test_a_text_that_is_full_of_its_boundary_ends_at_a_limit():
    mail = detached(signed_data([signer_info(attributes())], content=None))
    full = Entity(mail.headers, b"--grens--" + b"grensx--" * LOOKS + mail.body)
    assert full.body.count(b"--grens") > LOOKS
    found = opened(full)
    assert isinstance(found.error, LimitExceeded)
    few = Entity(mail.headers, b"--grensx\r\n" * 100 + mail.body)
    assert opened(few).signature == "good"


def test_garbage_as_a_signature_leaves_the_content_readable():
    found = opened(detached(b"\x30\x03abc"))
    assert found.opened
    assert found.signature == "bad"
    assert b"Uitslag" in bytes(found.entity)


def test_certificates_alone_are_no_signature():
    found = opened(message(signed_data([])))
    assert not found.opened
    assert isinstance(found.error, OpenFailed)
    found = opened(message(signed_data([], content=None)))
    assert not found.opened
    found = opened(detached(signed_data([], content=None)))
    assert found.signature == "bad"


def test_opaque_data_without_content_is_malformed():
    found = opened(message(signed_data([signer_info(attributes())], content=None)))
    assert isinstance(found.error, MalformedCms)


def test_sha_1_is_not_good():
    digest = attribute(signed.MESSAGE_DIGEST, tlv.octet_string(hashlib.sha1(forge.CONTENT).digest()))
    info = signer_info(
        attributes(digest=digest),
        digest=algorithm.SHA1,
        encoded=forge.ECDSA_SHA1,
        hash_algorithm=hashes.SHA1(),
    )
    layer = judged([info])
    assert (layer.status, layer.reason) == ("unknown", "a digest of sha1 is too weak")


def test_a_digest_that_the_signature_algorithm_does_not_have_is_bad():
    layer = judged([signer_info(attributes(), encoded=forge.ECDSA_SHA1)])
    assert (layer.status, layer.reason) == (
        "bad",
        "the signature algorithm has another digest than the signer",
    )


def test_an_unknown_algorithm_is_unknown():
    layer = judged([signer_info(attributes(), encoded=encode_algorithm(tlv.identifier("1.2.3.4")))])
    assert (layer.status, layer.reason) == ("unknown", "unknown signature algorithm 1.2.3.4")


def test_a_signature_by_another_type_of_key_is_bad():
    encoded = encode_algorithm(tlv.identifier("1.2.840.113549.1.1.11"), tlv.NULL_VALUE)
    assert judged([signer_info(attributes(), encoded=encoded)]).status == "bad"


def test_a_signer_without_a_certificate_is_unknown():
    layer = judged([signer_info(attributes())], certificates=("rsa",))
    assert (layer.status, layer.signer) == ("unknown", None)


def test_a_signer_s_certificate_may_be_one_of_ours_instead():
    mail = message(signed_data([signer_info(attributes())], certificates=("rsa",)))
    ours = Trust(trust().anchors, [person("p256").certificate])
    (layer,) = open_message(mail.headers, mail.body, ring(), ours, at=NOW).layers
    assert (layer.status, layer.signer) == ("good", person("p256").certificate)


def test_of_two_signers_the_better_speaks_and_a_wrong_one_is_bad():
    good = signer_info(attributes())
    other = signer_info(attributes(), kind="gateway")
    foreign = signer_info(attributes(), kind="p384")
    wrong = signer_info(attributes(content=b"something else"))
    both = {"certificates": ("p256", "p384", "gateway")}
    assert judged([foreign, good], **both).from_match == "person"
    assert judged([foreign, good], **both).status == "good"
    assert judged([other, good], **both).status == "good"
    assert judged([foreign], **both).status == "bad"
    assert judged([good, wrong], **both).status == "bad"


def test_attributes_in_ber_are_judged_by_their_der():
    attrs = attributes()
    info = signer_info(attrs)
    inner = attrs[2:]
    indefinite = bytes((tlv.context(0), 0x80)) + inner + b"\x00\x00"
    changed = info.replace(bytes((tlv.context(0),)) + attrs[1:], indefinite)
    body = changed[2:] if changed[1] < 0x80 else changed[2 + (changed[1] & 0x7F) :]
    assert judged([tlv.sequence(body)]).status == "good"


def test_a_digest_in_pieces_is_judged_by_its_der():
    attrs = attributes()
    digest = tlv.octet_string(hashlib.sha256(forge.CONTENT).digest())
    pieces = b"\x24\x80" + tlv.octet_string(digest[2:9]) + b"\x04\x81\x19" + digest[9:] + b"\x00\x00"
    grown = attributes(digest=attribute(signed.MESSAGE_DIGEST, pieces))
    shown = tlv.tlv(tlv.context(0), attrs[2:])
    info = signer_info(attrs)
    assert shown in info
    fields = tlv.parse(info, Work()).children
    rest = [bytes(field.raw) for field in fields]
    rest[3] = tlv.tlv(tlv.context(0), *(bytes(item.raw) for item in tlv.parse(grown, Work()).children))
    # a SET OF in the order in which it was signed
    assert judged([tlv.sequence(*_in_order_of(rest, attrs))]).status == "good"


def _in_order_of(fields, attrs):
    """SignerInfo fields whose attributes stand as in ``attrs``."""
    order = [bytes(item.children[0].raw) for item in tlv.parse(attrs, Work()).children]
    found = sorted(
        tlv.parse(fields[3], Work()).children, key=lambda item: order.index(bytes(item.children[0].raw))
    )
    fields[3] = tlv.tlv(tlv.context(0), *(bytes(item.raw) for item in found))
    return fields


def test_a_signer_is_known_by_a_name_that_was_encoded_anew():
    certificate = person("p256").certificate
    anew = x509.Name.build(x509.Name.load(certificate.issuer).native, use_printable=True).dump()
    assert anew != certificate.issuer
    fields = [bytes(field.raw) for field in tlv.parse(signer_info(attributes()), Work()).children]
    fields[1] = tlv.sequence(anew, tlv.integer(certificate.serial))
    assert judged([tlv.sequence(*fields)]).status == "good"


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        ({"signers": 1}, "signers"),
        ({"attributes": 5}, "attributes"),
        ({"certificates": 1}, "certificates"),
        ({"elements": 50}, "elements"),
        ({"octets": 100}, "octets"),
        ({"verifications": 1}, "verifications"),
    ],
)
def test_too_much_is_refused_before_it_is_done(limits, what):
    info = signer_info(attributes())
    mail = message(signed_data([info, info], certificates=("p256", "p384")))
    assert opened(mail).signature == "good"
    found = opened(mail, limits=Limits(**limits))
    assert isinstance(found.error, LimitExceeded)
    assert what in str(found.error)
    assert getattr(found.work, what) <= limits[what]
