from __future__ import annotations

import base64
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from asn1crypto import x509
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.errors import CertificateError, KeyStoreError
from nta_milter.smime.certificate import (
    SIZE_LIMIT,
    Certificate,
    RecipientCertificate,
    certificates_from_file,
    certificates_from_pem,
)

from .persons import NOW, person
from .pki import AUTHORITY, PERSON, Pki, openssl


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def root(pki):
    return pki.root()


def test_everything_that_openssl_prints_is_read(pki, root):
    holder = pki.issue(
        "everything",
        root,
        "rsa",
        PERSON
        + "\nkeyUsage=critical,digitalSignature,keyEncipherment"
        + "\nsubjectAltName=email:Alice@CARE.test,email:second@care.test,DNS:Mail.Care.test",
        subject="/C=NL/O=Zorggroep, Proef/CN=Alice/emailAddress=third@Care.test",
    )
    found = holder.certificate
    assert found.subject == "emailAddress=third@Care.test,CN=Alice,O=Zorggroep\\, Proef,C=NL"
    assert found.emails == ("Alice@care.test", "second@care.test", "third@care.test")
    assert found.dns_names == ("mail.care.test",)
    assert found.key_usage == {"digitalSignature", "keyEncipherment"}
    assert found.extended_key_usage == {"1.3.6.1.5.5.7.3.4"}
    assert found.algorithm == "rsa"
    assert found.signature_hash == "sha256"
    assert not found.is_authority
    assert root.certificate.is_authority
    assert found.issuer == root.certificate.subject_name
    assert found.unknown_critical == ()
    text = openssl("x509", "-in", holder.pem, "-noout", "-serial", "-fingerprint", "-sha256").decode()
    assert f"serial={found.serial:X}" in text
    assert found.fingerprint.upper() in text.replace(":", "")
    assert found.subject_key_identifier is not None
    identifier = openssl("x509", "-in", holder.pem, "-noout", "-ext", "subjectKeyIdentifier").decode()
    assert found.subject_key_identifier.hex().upper() in identifier.replace(":", "").replace("\n", "")
    assert found.not_after - found.not_before == timedelta(days=365)
    assert Certificate.from_pem(found.pem()) == found
    assert openssl("x509", "-in", holder.pem, "-outform", "DER") == found.der


def test_validity_includes_both_ends():
    certificate = person("p256").certificate
    assert certificate.valid_at(certificate.not_before)
    assert certificate.valid_at(certificate.not_after)
    assert not certificate.valid_at(certificate.not_after + timedelta(seconds=1))
    assert not certificate.valid_at(certificate.not_before - timedelta(seconds=1))


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384", "brainpool", "x25519"])
def test_keys_that_encrypt_are_usable(pki, root, kind):
    usage = "keyEncipherment" if kind == "rsa" else "keyAgreement"
    for extensions in (PERSON, f"{PERSON}\nkeyUsage={usage}"):
        holder = pki.issue(f"usable-{kind}", root, kind, extensions)
        assert RecipientCertificate(holder.certificate).usable_at(datetime.now(UTC)) is None


@pytest.mark.parametrize(
    ("kind", "extensions", "expected"),
    [
        ("rsa1024", PERSON, "RSA key of 1024 bits"),
        ("rsa-pss", PERSON, "rsassa_pss cannot encrypt"),
        ("ed25519", PERSON, "ed25519 cannot encrypt"),
        ("p224", PERSON, "curve secp224r1"),
        ("rsa", PERSON + "\nkeyUsage=digitalSignature", "does not allow keyEncipherment"),
        ("p256", PERSON + "\nkeyUsage=digitalSignature,keyEncipherment", "does not allow keyAgreement"),
        ("p256", "extendedKeyUsage=serverAuth", "does not allow e-mail"),
        ("p256", PERSON + "\n1.2.3.4=critical,DER:0500", "critical extension 1.2.3.4"),
    ],
)
def test_a_certificate_that_must_not_encrypt_says_why(pki, root, kind, extensions, expected):
    holder = pki.issue(f"refused-{kind}", root, kind, extensions, subject="/CN=Bea")
    with pytest.raises(CertificateError, match=expected) as caught:
        RecipientCertificate(holder.certificate).usable_at(datetime.now(UTC))
    assert "certificate of CN=Bea" in str(caught.value)


def test_expired_and_future_certificates_never_encrypt():
    entry = RecipientCertificate(person("p256").certificate)
    assert entry.usable_at(NOW) is None
    with pytest.raises(CertificateError, match="expired on 2046-01-01"):
        entry.usable_at(datetime(2046, 1, 2, tzinfo=UTC))
    with pytest.raises(CertificateError, match="not valid before 2020-01-01"):
        entry.usable_at(datetime(2019, 1, 2, tzinfo=UTC))


def test_any_extended_key_usage_allows_mail(pki, root):
    holder = pki.issue("any", root, "p256", "extendedKeyUsage=anyExtendedKeyUsage")
    assert RecipientCertificate(holder.certificate).usable_at(datetime.now(UTC)) is None
    assert holder.certificate.may_sign()


def test_who_may_sign(pki, root):
    assert pki.issue("sign1", root, "ed25519").certificate.may_sign()
    assert pki.issue("sign2", root, "p256", PERSON + "\nkeyUsage=nonRepudiation").certificate.may_sign()
    assert not pki.issue("sign3", root, "p256", PERSON + "\nkeyUsage=keyAgreement").certificate.may_sign()
    assert not pki.issue("sign4", root, "x25519").certificate.may_sign()
    assert not pki.issue("sign5", root, "p256", "extendedKeyUsage=serverAuth").certificate.may_sign()


@pytest.mark.parametrize(
    "subject",
    ["/CN=evil\x00alice@care.test", "/CN=line\nfeed", "/CN=\u202eright to left", "/CN= leading", "/CN=#hash"],
)
def test_a_subject_is_safe_in_a_log(pki, root, subject):
    if "\x00" in subject:
        subject = subject.replace("\x00", "")
    found = pki.issue("log", root, subject=subject).certificate
    assert found.subject.isprintable()


def test_odd_addresses_are_none(pki, root):
    for value in ("alice", "@care.test", "alice@", "a b@care.test", "<alice@care.test>"):
        assert pki.issue("odd", root, email=value).certificate.emails == ()


def test_utf8_mailbox_of_rfc9598(pki, root):
    names = "[names]\notherName.1=1.3.6.1.5.5.7.8.9;FORMAT:UTF8,UTF8:zoë@care.test"
    found = pki.issue("utf8", root, "p256", f"{PERSON}\nsubjectAltName=@names\n{names}").certificate
    assert found.emails == ("zoë@care.test",)


def test_twice_the_same_extension_is_refused():
    parsed = x509.Certificate.load(person("p256").certificate.der)
    extensions = parsed["tbs_certificate"]["extensions"]
    extensions.append(extensions[0].copy())
    with pytest.raises(CertificateError, match="there twice"):
        Certificate.from_der(parsed.dump(force=True))


def test_pem_files(tmp_path):
    one, two = person("p256").certificate, person("rsa").certificate
    file = tmp_path / "two.pem"
    file.write_bytes(b"Subject: somebody\n" + one.pem() + b"\nwords\n" + two.pem())
    assert certificates_from_file(file) == (one, two)
    assert Certificate.from_pem(file.read_bytes()) == one
    file.write_bytes(one.der)
    assert certificates_from_file(file) == (one,)
    file.write_bytes(b"")
    with pytest.raises(KeyStoreError, match=r"two\.pem: the file holds no certificate"):
        certificates_from_file(file)
    with pytest.raises(KeyStoreError, match=r"absent\.pem: cannot be read"):
        certificates_from_file(tmp_path / "absent.pem")
    with pytest.raises(CertificateError, match="no PEM certificate"):
        Certificate.from_pem(b"words")


def test_hostile_sizes_and_depths_are_refused():
    with pytest.raises(CertificateError, match="at most"):
        Certificate.from_der(b"\x30" + b"\0" * SIZE_LIMIT)
    deep = b""
    for _ in range(3000):
        length = len(deep)
        header = bytes([length]) if length < 128 else b"\x82" + length.to_bytes(2, "big")
        deep = b"\x30" + header + deep
    with pytest.raises(CertificateError):
        Certificate.from_der(deep)
    with pytest.raises(CertificateError):
        Certificate.from_der(deep[: len(deep) // 2])


def _look_at_everything(certificate: Certificate) -> None:
    assert certificate.subject.isprintable()
    assert all("@" in email for email in certificate.emails)
    assert certificate.not_before.tzinfo is not None
    certificate.valid_at(NOW)
    with suppress(CertificateError):
        RecipientCertificate(certificate).usable_at(NOW)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_certificate_or_a_certificate_error(data):
    with suppress(CertificateError):
        _look_at_everything(Certificate.from_der(data))


@given(
    st.sampled_from(["rsa", "p256", "x25519", "ed25519", "gateway"]),
    st.lists(
        st.tuples(st.integers(0, 100_000), st.binary(max_size=3), st.integers(0, 3)), min_size=1, max_size=4
    ),
)
def test_a_damaged_certificate_gives_a_certificate_or_a_certificate_error(kind, changes):
    data = bytearray(person(kind).certificate.der)
    for at, new, removed in changes:
        at %= len(data)
        data[at : at + removed] = new
    with suppress(CertificateError):
        _look_at_everything(Certificate.from_der(bytes(data)))


@given(st.integers(0, 100_000), st.integers(0, 255))
def test_one_changed_octet_is_never_a_surprise(at, value):
    data = bytearray(person("rsa").certificate.der)
    data[at % len(data)] = value
    with suppress(CertificateError):
        _look_at_everything(Certificate.from_der(bytes(data)))


@given(
    st.lists(
        st.sampled_from(
            [
                b"-----BEGIN CERTIFICATE-----\n",
                b"-----END CERTIFICATE-----\n",
                b"-----BEGIN X509 CRL-----\n",
                b"---- BEGIN",
                base64.encodebytes(b"\x30\x03\x02\x01\x01"),
                b"Proc-Type: 4\n",
                b"\n",
                b"\xff\xfe\n",
                b"=====\n",
            ]
        ),
        max_size=8,
    ),
    st.binary(max_size=20),
)
def test_any_pem_text_gives_certificates_or_a_certificate_error(pieces, tail):
    try:
        found = list(certificates_from_pem(b"".join(pieces) + tail))
    except CertificateError:
        found = []
    assert all(isinstance(each, Certificate) for each in found)


def test_an_authority_is_told_from_a_person(root):
    assert "CA:TRUE" in AUTHORITY
    assert root.certificate.key_usage == {"keyCertSign", "cRLSign"}
    assert not root.certificate.may_sign()


def test_a_key_for_diffie_hellman_over_numbers_is_refused_without_a_word_elsewhere(tmp_path):
    pki = Pki(tmp_path)
    holder = pki.issue("dh", pki.root(), "dh")
    with pytest.raises(CertificateError, match="a public key of type"):
        Certificate.from_pem(holder.pem.read_bytes())
