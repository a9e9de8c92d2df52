from __future__ import annotations

import base64
import shutil
from datetime import UTC, datetime
from functools import lru_cache

import pytest
from asn1crypto import keys, pem, x509
from asn1crypto import pkcs12 as asn1
from cryptography import x509 as pyca
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.errors import CertificateError, KeyStoreError
from nta_milter.smime import pkcs12
from nta_milter.smime.keyfile import read_key_file
from nta_milter.smime.keystore import KeyRing, PrivateKey, certificate_addresses
from nta_milter.smime.pkcs12 import WrongPassword

from .persons import NOW, person, ring
from .pki import AUTHORITY, PERSON, Pki, openssl

PASSWORD = "sleutel-Ω-42"
SECRET = PASSWORD.encode()


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def root(pki):
    return pki.root()


@pytest.fixture(scope="module")
def middle(pki, root):
    return pki.issue("middle", root, "p256", AUTHORITY)


@pytest.fixture(scope="module")
def alice(pki, middle):
    return pki.issue("alice", middle, "rsa", email="Alice@care.test")


def works(key: PrivateKey) -> bool:
    """The private key belongs to the certificate: what one signs the other verifies."""
    private, public = key.key, key.certificate.public_key
    if isinstance(private, rsa.RSAPrivateKey):
        public.verify(
            private.sign(b"proef", PKCS1v15(), hashes.SHA256()), b"proef", PKCS1v15(), hashes.SHA256()
        )
    elif isinstance(private, ec.EllipticCurvePrivateKey):
        public.verify(private.sign(b"proef", ec.ECDSA(hashes.SHA256())), b"proef", ec.ECDSA(hashes.SHA256()))
    elif hasattr(private, "sign"):
        public.verify(private.sign(b"proef"), b"proef")
    else:
        raw = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        assert private.public_key().public_bytes(*raw) == public.public_bytes(*raw)
    return True


OPTIONS = {
    "modern": (),
    "legacy": ("-legacy",),
    "rc2-40": ("-legacy", "-keypbe", "PBE-SHA1-RC2-40", "-certpbe", "PBE-SHA1-RC2-40"),
    "rc2-128": ("-legacy", "-keypbe", "PBE-SHA1-RC2-128", "-certpbe", "PBE-SHA1-RC2-128"),
    "rc4-128": ("-legacy", "-keypbe", "PBE-SHA1-RC4-128", "-certpbe", "PBE-SHA1-RC4-128"),
    "3des": ("-legacy", "-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES"),
    "2des": ("-legacy", "-keypbe", "PBE-SHA1-2DES", "-certpbe", "PBE-SHA1-2DES"),
    "aes-128": ("-keypbe", "AES-128-CBC", "-certpbe", "AES-192-CBC", "-macalg", "sha512"),
    "pbes2-3des": ("-keypbe", "DES-EDE3-CBC", "-certpbe", "DES-EDE3-CBC", "-macalg", "sha384"),
    "plain-certificates": ("-certpbe", "NONE"),
    "plain": ("-keypbe", "NONE", "-certpbe", "NONE"),
    "no-mac": ("-nomac",),
    "many-iterations": ("-iter", "20000"),
}


@pytest.mark.parametrize("form", OPTIONS)
def test_every_form_that_openssl_writes_is_read(pki, root, middle, alice, form):
    file = pki.pkcs12(f"form-{form}", alice, PASSWORD, *OPTIONS[form], chain=(middle, root))
    (key,) = KeyRing.load(file, passwords=[b"another", SECRET]).keys
    assert key.certificate == alice.certificate
    assert works(key)
    assert key.chain == (middle.certificate,)
    assert key.addresses == {"alice@care.test"}
    assert key.source == f"form-{form}.p12"


@pytest.mark.parametrize("form", ["modern", "legacy", "rc2-40", "no-mac", "3des"])
def test_a_wrong_password_is_named_with_its_cure(pki, alice, form):
    file = pki.pkcs12(f"wrong-{form}", alice, PASSWORD, *OPTIONS[form])
    with pytest.raises(WrongPassword, match=rf"wrong-{form}\.p12: it needs a password"):
        KeyRing.load(file)
    with pytest.raises(WrongPassword, match="no known password fits"):
        KeyRing.load(file, passwords=[b"another"])
    beside = file.with_suffix(".password")
    beside.write_bytes(b"another\n")
    with pytest.raises(WrongPassword, match=rf"password in .*wrong-{form}\.password does not fit"):
        KeyRing.load(file, passwords=[SECRET])
    beside.write_bytes(SECRET + b"\r\nsecond line\n")
    assert len(KeyRing.load(file).keys) == 1


@pytest.mark.parametrize("form", ["modern", "legacy", "plain"])
def test_an_empty_password_opens_a_file_with_an_empty_password(pki, alice, form):
    file = pki.pkcs12(f"empty-{form}", alice, "", *OPTIONS[form])
    assert works(KeyRing.load(file).keys[0])


@pytest.mark.parametrize("kind", ["rsa", "rsa-pss", "p256", "p384", "brainpool", "ed25519", "x25519"])
@pytest.mark.parametrize("form", ["modern", "legacy", "3des"])
def test_every_kind_of_key_is_read(pki, root, kind, form):
    if (kind, form) == ("x25519", "legacy"):
        form = "3des"  # with RC2 beside it, the next test
    holder = pki.issue(f"kind-{kind}-{form}", root, kind)
    file = pki.pkcs12(f"kind-{kind}-{form}", holder, PASSWORD, *OPTIONS[form])
    (key,) = KeyRing.load(file, passwords=[SECRET]).keys
    assert key.certificate == holder.certificate
    if kind != "rsa-pss":
        assert works(key)


def test_x25519_beside_rc2_is_read_or_the_file_is_to_be_written_anew(pki, root):
    """cryptography 38 reads RC2, but not in a file with X25519."""
    holder = pki.issue("rc2-x25519", root, "x25519")
    file = pki.pkcs12("rc2-x25519", holder, PASSWORD, *OPTIONS["legacy"])
    try:
        outcome = [works(key) for key in KeyRing.load(file, passwords=[SECRET]).keys]
    except KeyStoreError as error:
        outcome = str(error)
    assert outcome == [True] or "write it anew: openssl pkcs12 -legacy" in outcome


def test_several_keys_in_one_file(tmp_path):
    """openssl writes one key per file; so the second bag is put beside the first, as RFC 9216 has it."""
    sign, open_ = person("rsa"), person("p256")
    file = tmp_path / "two.p12"
    file.write_bytes(_pkcs12_of(sign, open_))
    found = KeyRing.load(file).keys
    assert {key.certificate for key in found} == {sign.certificate, open_.certificate}
    assert all(works(key) for key in found)
    assert openssl("pkcs12", "-in", file, "-passin", "pass:", "-nodes").count(b"BEGIN PRIVATE KEY") == 2


def _pkcs12_of(*holders: PrivateKey) -> bytes:
    bags = []
    for holder in holders:
        der = holder.key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        bags.append(asn1.SafeBag({"bag_id": "key_bag", "bag_value": keys.PrivateKeyInfo.load(der)}))
        certificate = {"cert_id": "x509", "cert_value": x509.Certificate.load(holder.certificate.der)}
        bags.append(asn1.SafeBag({"bag_id": "cert_bag", "bag_value": asn1.CertBag(certificate)}))
    contents = asn1.SafeContents(bags).dump()
    safe = asn1.AuthenticatedSafe([{"content_type": "data", "content": contents}]).dump()
    return asn1.Pfx({"version": "v3", "auth_safe": {"content_type": "data", "content": safe}}).dump()


def test_a_renewed_certificate_for_the_same_key_gives_both(pki, root, tmp_path):
    old = pki.issue("renew-old", root, "p256", email="alice@care.test", days=10)
    new = pki.issue("renew-new", root, "p256", email="alice@care.test", days=100, key=old.key)
    file = tmp_path / "both.pem"
    file.write_bytes(old.key.read_bytes() + old.pem.read_bytes() + new.pem.read_bytes())
    keys_found = KeyRing.load(file)
    assert {key.certificate for key in keys_found.keys} == {old.certificate, new.certificate}
    for holder in (old, new):
        found = keys_found.find(holder.certificate.issuer, holder.certificate.serial)
        assert found is not None
        assert found.certificate == holder.certificate


PEM_FORMS = (
    ("pkey",),
    ("pkey", "-aes256"),
    ("pkey", "-traditional"),
    ("pkey", "-traditional", "-aes128"),
)


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        (kind, form)
        for kind in ("rsa", "p256", "ed25519", "x25519")
        for form in (
            ("pkey",),
            ("pkey", "-aes256"),
            ("pkey", "-traditional"),
            ("pkey", "-traditional", "-aes128"),
        )
        if "-traditional" not in form or kind in ("rsa", "p256")
    ],
)
def test_pem_keys_plain_and_encrypted(pki, root, tmp_path, kind, form):
    holder = pki.issue(f"pem-{kind}", root, kind)
    text = openssl(*form, "-in", holder.key, "-passout", f"pass:{PASSWORD}")
    file = tmp_path / "key.pem"
    file.write_bytes(b"words of explanation\n" + holder.pem.read_bytes() + text)
    assert works(KeyRing.load(file, passwords=[SECRET]).keys[0])
    if b"ENCRYPTED" in text:
        with pytest.raises(WrongPassword):
            KeyRing.load(file, passwords=[b"another"])


def test_a_key_is_found_by_an_issuer_in_any_encoding():
    key = person("p256")
    issuer = key.certificate.issuer
    keys_of_ours = ring("p256")
    assert keys_of_ours.find(issuer, key.certificate.serial) is not None
    indefinite = b"\x30\x80" + issuer[2:] + b"\x00\x00"
    long = b"\x30\x84\x00\x00\x00" + issuer[1:]
    for other in (indefinite, long):
        assert keys_of_ours.find(other, key.certificate.serial) is not None
        assert keys_of_ours.find(other, key.certificate.serial + 1) is None
    for other in (b"", b"\x30", b"\x30\x00", b"\x30\x80" * 50, issuer + b"\x00", issuer[:-1]):
        assert keys_of_ours.find(other, key.certificate.serial) is None


def test_an_armored_pkcs12_is_read_too(pki, alice, tmp_path):
    file = tmp_path / "alice.p12"
    file.write_bytes(pem.armor("PKCS12", pki.pkcs12("armored", alice, PASSWORD).read_bytes()))
    assert works(KeyRing.load(file, passwords=[SECRET]).keys[0])
    with pytest.raises(WrongPassword):
        KeyRing.load(file, passwords=[b"another"])


def test_a_folder_is_loaded_whole_and_only_its_key_files(pki, root, alice, tmp_path):
    shutil.copy(pki.pkcs12("folder", alice, PASSWORD), tmp_path / "alice.P12")
    bea = pki.issue("bea", root, "ed25519", email="bea@care.test")
    (tmp_path / "bea.pem").write_bytes(bea.key.read_bytes() + bea.pem.read_bytes())
    (tmp_path / "README.txt").write_text("words")
    (tmp_path / ".hidden.pem").write_text("words")
    found = KeyRing.load(
        tmp_path, passwords=[SECRET], bindings={"bea.pem": ["Info@Care.test", "@clinic.test"]}
    )
    assert [key.source for key in found.keys] == ["alice.P12", "bea.pem"]
    assert found.keys[1].addresses == {"bea@care.test", "info@care.test", "@clinic.test"}
    assert KeyRing.load(tmp_path / "bea.pem").keys[0].certificate == bea.certificate


def test_an_empty_folder_has_no_keys(tmp_path):
    assert KeyRing.load(tmp_path).keys == ()


def test_what_cannot_be_loaded_names_the_file(pki, root, alice, tmp_path):
    with pytest.raises(KeyStoreError, match=r"absent: there is no such file or folder"):
        KeyRing.load(tmp_path / "absent")
    file = tmp_path / "x.pem"
    bea = pki.issue("other", root, "p256")
    one = pki.issue("one-rsa", root, "rsa")
    for text, expected in (
        (b"words", "neither a PKCS#12 nor a PEM file"),
        (b"", "neither a PKCS#12 nor a PEM file"),
        (bea.pem.read_bytes(), "holds no private key"),
        (bea.key.read_bytes(), "has no certificate"),
        (bea.key.read_bytes() + alice.pem.read_bytes(), "has no certificate"),
        (one.key.read_bytes() + alice.pem.read_bytes(), "has no certificate"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "cannot be read"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "not a certificate"),
        (b"\x30\x03\x02\x01\x03", "not a PKCS#12 file"),
        (b"\x30" + b"\0" * pkcs12.SIZE_LIMIT, "at most"),
    ):
        file.write_bytes(text)
        with pytest.raises(KeyStoreError, match=rf"x\.pem: .*{expected}"):
            KeyRing.load(tmp_path)


def test_bindings_must_name_files_and_addresses(pki, root, tmp_path):
    bea = pki.issue("bound", root, "p256")
    (tmp_path / "bea.pem").write_bytes(bea.key.read_bytes() + bea.pem.read_bytes())
    with pytest.raises(KeyStoreError, match="names a key file that is not there"):
        KeyRing.load(tmp_path, bindings={"bae.pem": ["@care.test"]})
    for wrong in ("care.test", "@", "a b@care.test", ""):
        with pytest.raises(KeyStoreError, match="neither an address nor @domain"):
            KeyRing.load(tmp_path, bindings={"bea.pem": [wrong]})


def test_numbers_that_do_not_belong_together_are_refused(pki, alice, tmp_path):
    """A wrong CRT exponent would give away a factor of the modulus with the first signature."""
    der = openssl("pkey", "-in", alice.key, "-outform", "DER", "-traditional")
    for name in ("prime1", "exponent1", "exponent2", "coefficient", "private_exponent"):
        numbers = keys.RSAPrivateKey.load(der)
        numbers[name] = numbers[name].native + 2
        file = tmp_path / "key.pem"
        broken = keys.PrivateKeyInfo.wrap(keys.RSAPrivateKey.load(numbers.dump(force=True)), "rsa").dump()
        text = b"-----BEGIN PRIVATE KEY-----\n" + base64.encodebytes(broken) + b"-----END PRIVATE KEY-----\n"
        file.write_bytes(text + alice.pem.read_bytes())
        with pytest.raises(KeyStoreError, match="do not belong together"):
            KeyRing.load(file)


def test_a_key_is_found_by_issuer_and_serial_and_by_its_identifier(pki, root):
    found = ring("rsa", "p256", "x25519")
    for key in found.keys:
        certificate = key.certificate
        assert found.find(certificate.issuer, certificate.serial) is key
        assert found.find_by_ski(certificate.subject_key_identifier) is key
        assert found.find(certificate.issuer, certificate.serial + 7777) is None
        assert found.find(certificate.subject_name, certificate.serial) is None
        assert found.find(b"\x30\x80garbage", certificate.serial) is None
    assert found.find_by_ski(b"") is None


def test_an_issuer_that_was_encoded_anew_is_the_same_issuer():
    """node-forge writes PrintableString where the certificate has UTF8String."""
    key = person("p256")
    parsed = x509.Name.load(key.certificate.issuer)
    anew = x509.Name.build(dict(parsed.native), use_printable=True).dump()
    assert anew != key.certificate.issuer
    assert ring("p256").find(anew, key.certificate.serial) is not None


def test_a_certificate_without_identifier_is_found_by_the_hash_of_its_key():
    key = ec.generate_private_key(ec.SECP256R1())
    name = pyca.Name([pyca.NameAttribute(NameOID.COMMON_NAME, "zonder")])
    plain = (
        pyca.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(datetime(2020, 1, 1))
        .not_valid_after(datetime(2040, 1, 1))
        .sign(key, hashes.SHA256())
    )
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem = text + plain.public_bytes(serialization.Encoding.PEM)
    ((certificate, loaded, chain),) = read_key_file(pem)
    assert certificate.subject_key_identifier is None
    assert chain == ()
    found = KeyRing((PrivateKey(certificate, loaded, chain, frozenset(), "x.pem"),))
    assert found.find_by_ski(pyca.SubjectKeyIdentifier.from_public_key(key.public_key()).digest) is not None


def test_a_key_opens_only_for_the_addresses_it_is_bound_to():
    """Invariant 5: a key opens a message only for envelope recipients it is bound to."""
    alice = PrivateKey(person("rsa").certificate, None, (), frozenset({"alice@care.test"}), "a")
    gateway = PrivateKey(person("p256").certificate, None, (), frozenset({"@clinic.test"}), "b")
    both = KeyRing((alice, gateway))
    assert both.bound_to(["ALICE@Care.Test"]).keys == (alice,)
    assert both.bound_to(["bob@care.test"]).keys == ()
    assert both.bound_to(["anybody@CLINIC.test"]).keys == (gateway,)
    assert both.bound_to(["anybody@sub.clinic.test"]).keys == ()
    assert both.bound_to(["x@notclinic.test", "alice@care.test", "y@clinic.test"]).keys == both.keys
    assert both.bound_to([]).keys == ()
    assert both.bound_to(["", "clinic.test", "@"]).keys in ((), (gateway,))


def test_a_certificate_speaks_for_its_addresses_and_a_gateways_for_its_domain(pki, root):
    for email, expected in (
        ("Alice@Care.test", {"alice@care.test"}),
        ("domain-confidentiality-authority@care.test", {"@care.test"}),
        ("domain-signing-authority@Clinic.test", {"@clinic.test"}),
    ):
        certificate = pki.issue("speaks", root, email=email).certificate
        assert certificate_addresses(certificate) == expected
    names = f"{PERSON}\nsubjectAltName=DNS:care.test,DNS:*.care.test"
    certificate = pki.issue("speaks-dns", root, "p256", names).certificate
    assert certificate_addresses(certificate) == {"@care.test"}


def test_the_signer_is_the_senders_own_key_then_the_domains_then_nobody(pki, root):
    def holder(name, email, usage="", kind="p256", days=365):
        extensions = PERSON + (f"\nkeyUsage={usage}" if usage else "")
        made = pki.issue(name, root, kind, extensions, email=email, days=days).certificate
        return PrivateKey(made, None, (), certificate_addresses(made), name)

    own = holder("own", "alice@care.test")
    encrypting = holder("encrypting", "alice@care.test", "keyAgreement")
    gateway = holder("gateway", "domain-signing-authority@care.test")
    at = datetime.now(UTC)
    found = KeyRing((encrypting, gateway, own))
    assert found.signer_for("Alice@care.test", at=at) is own
    assert found.signer_for("alice@care.test") is own
    assert found.signer_for("bob@care.test", at=at) is gateway
    assert found.signer_for("bob@care.test", at=at, domain_too=False) is None
    assert found.signer_for("bob@elsewhere.test", at=at) is None
    assert found.signer_for("alice@care.test", at=own.certificate.not_after.replace(year=2050)) is None
    assert KeyRing((encrypting,)).signer_for("alice@care.test", at=at) is None


def test_nothing_secret_is_printed(pki, alice):
    file = pki.pkcs12("printed", alice, PASSWORD)
    found = KeyRing.load(file, passwords=[SECRET])
    assert "key=" not in repr(found.keys[0])
    assert repr(pkcs12.read_pkcs12(file.read_bytes(), SECRET)) == "Contents(1 keys, 1 certificates)"


def test_work_factors_have_an_end(pki, alice):
    for form, wanted in (("legacy", pkcs12.PKCS12_KDF_LIMIT + 1), ("modern", pkcs12.PKCS12_KDF_LIMIT + 1)):
        file = pki.pkcs12(f"work-{form}", alice, PASSWORD, *OPTIONS[form])
        pfx = asn1.Pfx.load(file.read_bytes())
        pfx["mac_data"]["iterations"] = wanted
        with pytest.raises(KeyStoreError, match="iterations of the PKCS#12 key derivation are not accepted"):
            pkcs12.read_pkcs12(pfx.dump(force=True), SECRET)


def test_the_key_derivation_of_rfc7292():
    """Values of the test that BouncyCastle and others share: password "smeg", SHA-1."""
    password = "smeg".encode("utf-16-be") + b"\0\0"
    salt = bytes.fromhex("0A58CF64530D823F")
    assert pkcs12.pkcs12_kdf("sha1", password, salt, 1, 1, 24) == bytes.fromhex(
        "8AAAE6297B6CB04642AB5B077851284EB7128F1A2A7FBCA3"
    )
    assert pkcs12.pkcs12_kdf("sha1", password, salt, 1, 2, 8) == bytes.fromhex("79993DFE048D3B76")


def _read(data: bytes) -> str:
    """``read``, or the name of the error that was allowed."""
    try:
        read_key_file(data, [SECRET])
    except (KeyStoreError, CertificateError) as error:
        return type(error).__name__
    return "read"


OUTCOMES = {"read", "KeyStoreError", "WrongPassword", "CertificateError"}


@lru_cache
def _samples() -> tuple[bytes, ...]:
    return _pkcs12_of(person("rsa"), person("x25519")), _pkcs12_of(person("ed25519"))


CHANGE = st.tuples(st.integers(0, 100_000), st.binary(max_size=3), st.integers(0, 3))


@given(st.integers(0, 1), st.lists(CHANGE, min_size=1, max_size=4))
def test_a_damaged_plain_file_is_read_or_refused(which, changes):
    data = bytearray(_samples()[which])
    for at, new, removed in changes:
        at %= len(data)
        data[at : at + removed] = new
    assert _read(bytes(data)) in OUTCOMES


@given(
    at=st.integers(0, 100_000),
    value=st.integers(0, 255),
    form=st.sampled_from(["modern", "legacy", "no-mac"]),
)
def test_a_damaged_encrypted_file_is_read_or_refused(pki, alice, at, value, form):
    file = pki.folder / f"damaged-{form}.p12"
    if not file.exists():
        pki.pkcs12(file.stem, alice, PASSWORD, *OPTIONS[form], "-iter", "1")
    data = bytearray(file.read_bytes())
    data[at % len(data)] = value
    assert _read(bytes(data)) in OUTCOMES


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data):
    for text in (data, b"\x30" + data, b"-----BEGIN PRIVATE KEY-----\n" + data):
        assert _read(text) in OUTCOMES - {"read"}


def test_nested_contents_are_refused_before_they_are_deep():
    inner = asn1.SafeContents([]).dump()
    for _ in range(2000):
        bag = asn1.SafeBag({"bag_id": "safe_contents", "bag_value": asn1.SafeContents.load(inner)})
        inner = asn1.SafeContents([bag]).dump()
        if len(inner) > 4000:
            break
    safe = asn1.AuthenticatedSafe([{"content_type": "data", "content": inner}]).dump()
    data = asn1.Pfx({"version": "v3", "auth_safe": {"content_type": "data", "content": safe}}).dump()
    with pytest.raises(KeyStoreError, match="too deeply"):
        read_key_file(data)


def test_now_is_a_moment_of_the_made_up_people():
    assert person("rsa").certificate.valid_at(NOW)
