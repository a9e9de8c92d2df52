from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.errors import CertificateError, KeyStoreError
from nta_milter.smime.certificate import Certificate
from nta_milter.smime.revocation import RevocationLists
from nta_milter.smime.trust import INTERMEDIATE_LIMIT, Trust

from .persons import NOW, authority, person, trust
from .pki import AUTHORITY, PERSON, Pki, openssl

AT = datetime.now(UTC) + timedelta(hours=1)


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def root(pki):
    return pki.issue("root", None, "p256", AUTHORITY, days=3650)


@pytest.fixture(scope="module")
def middle(pki, root):
    return pki.issue("middle", root, "p256", AUTHORITY, days=3650)


@pytest.fixture(scope="module")
def alice(pki, middle):
    return pki.issue("alice", middle, email="alice@care.test")


def believing(*holders) -> Trust:
    return Trust([holder.certificate for holder in holders])


def test_a_path_over_an_intermediate_is_trusted(root, middle, alice):
    verdict = believing(root).judge(alice.certificate, [middle.certificate], AT)
    assert verdict.trusted
    assert verdict.revocation == "unknown"
    assert verdict.chain == (alice.certificate, middle.certificate, root.certificate)


def test_without_the_intermediate_there_is_no_path(root, alice):
    verdict = believing(root).judge(alice.certificate, [], AT)
    assert verdict.status == "untrusted"
    assert "unable to get local issuer certificate" in verdict.reason


def test_nobody_is_trusted_without_anchors(root, middle, alice):
    assert (
        believing().judge(alice.certificate, [middle.certificate, root.certificate], AT).status == "untrusted"
    )


def test_an_intermediate_or_a_person_may_be_the_anchor(root, middle, alice):
    assert believing(middle).judge(alice.certificate, [], AT).trusted
    assert believing(alice).judge(alice.certificate, [], AT).trusted


def test_expired_and_not_yet_valid(root, middle, alice):
    late = alice.certificate.not_after + timedelta(seconds=1)
    verdict = believing(root).judge(alice.certificate, [middle.certificate], late)
    assert verdict.status == "expired"
    assert "certificate has expired (at CN=alice," in verdict.reason
    early = alice.certificate.not_before - timedelta(days=1)
    assert believing(root).judge(alice.certificate, [middle.certificate], early).status == "untrusted"


def test_the_time_is_compared_in_utc(root, middle, alice):
    amsterdam = timezone(timedelta(hours=2))
    just = alice.certificate.not_after.astimezone(amsterdam)
    assert believing(root).judge(alice.certificate, [middle.certificate], just - timedelta(minutes=5)).trusted


@pytest.mark.parametrize(
    ("extensions", "expected"),
    [
        ("basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth", "does not allow e-mail"),
        (PERSON + "\nkeyUsage=keyAgreement", "does not allow signing"),
        (PERSON + "\n1.2.3.4=critical,DER:0500", "unhandled critical extension"),
    ],
)
def test_the_end_certificate_must_be_for_signing_mail(pki, root, extensions, expected):
    holder = pki.issue("purpose", root, "p256", extensions)
    verdict = believing(root).judge(holder.certificate, [], AT)
    assert verdict.status == "untrusted"
    assert expected in verdict.reason


def test_an_encryption_certificate_is_judged_without_its_key_usage(pki, root):
    holder = pki.issue("encrypting", root, "p256", PERSON + "\nkeyUsage=keyAgreement")
    assert believing(root).judge(holder.certificate, [], AT, purpose="encrypt").trusted
    assert not believing(root).judge(holder.certificate, [], AT).trusted


@pytest.mark.parametrize(
    ("extensions", "expected"),
    [
        ("basicConstraints=critical,CA:FALSE\nkeyUsage=keyCertSign", "invalid CA certificate"),
        ("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,cRLSign", "invalid CA certificate"),
        (AUTHORITY + "\nextendedKeyUsage=serverAuth", "does not allow e-mail"),
        (AUTHORITY + "\nnameConstraints=critical,permitted;email:clinic.test", "permitted subtree violation"),
        (
            AUTHORITY + "\nnameConstraints=critical,excluded;email:care.test",
            "excluded subtree",
        ),
        (AUTHORITY + "\nnameConstraints=critical,permitted;DNS:clinic.test", "permitted subtree violation"),
    ],
)
def test_an_intermediate_must_be_allowed_to_issue_it(pki, root, extensions, expected):
    issuer = pki.issue("limited", root, "p256", extensions)
    names = "\nsubjectAltName=DNS:care.test" if "permitted;DNS" in extensions else ""
    email = None if names else "alice@care.test"
    holder = pki.issue("under-limited", issuer, "p256", PERSON + names, email=email)
    verdict = believing(root).judge(holder.certificate, [issuer.certificate], AT)
    assert verdict.status == "untrusted"
    assert expected in verdict.reason


def test_a_permitted_name_passes_its_constraint(pki, root):
    issuer = pki.issue(
        "care", root, "p256", AUTHORITY + "\nnameConstraints=critical,permitted;email:care.test"
    )
    holder = pki.issue("under-care", issuer, email="alice@care.test")
    assert believing(root).judge(holder.certificate, [issuer.certificate], AT).trusted


def test_the_path_length_is_kept(pki, root):
    first = pki.issue("first", root, "p256", AUTHORITY.replace("CA:TRUE", "CA:TRUE,pathlen:0"))
    second = pki.issue("second", first, "p256", AUTHORITY)
    holder = pki.issue("too-deep", second)
    verdict = believing(root).judge(holder.certificate, [second.certificate, first.certificate], AT)
    assert verdict.status == "untrusted"
    assert "path length" in verdict.reason


@pytest.mark.parametrize(
    ("kind", "digest", "expected"),
    [
        ("rsa", "sha1", "signed with sha1"),
        ("rsa1024", "sha256", "RSA key of 1024 bits"),
        ("p224", "sha256", "secp224r1"),
    ],
)
def test_weak_digests_and_keys_are_not_trusted(pki, root, kind, digest, expected):
    holder = pki.issue(f"weak-{kind}", root, kind, digest=digest)
    verdict = believing(root).judge(holder.certificate, [], AT)
    assert verdict.status == "untrusted"
    assert expected in verdict.reason


def test_a_weak_anchor_is_not_trusted_but_its_own_digest_does_not_matter(pki):
    short = pki.root("short", "rsa1024")
    holder = pki.issue("under-short", short)
    assert "RSA key of 1024 bits" in believing(short).judge(holder.certificate, [], AT).reason
    old = pki.root("old", "rsa", digest="sha1")
    holder = pki.issue("under-old", old)
    assert believing(old).judge(holder.certificate, [], AT).trusted


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "rsa-pss", "p384", "brainpool"])
def test_issuers_with_every_kind_of_key(pki, kind):
    issuer = pki.root(f"root-{kind}", kind)
    holder = pki.issue(f"under-{kind}", issuer)
    verdict = believing(issuer).judge(holder.certificate, [], AT)
    assert verdict.trusted, verdict.reason


def test_a_forged_signature_is_not_trusted(pki, root, alice, middle):
    data = bytearray(alice.certificate.der)
    data[-1] ^= 1
    verdict = believing(root).judge(Certificate.from_der(bytes(data)), [middle.certificate], AT)
    assert verdict.status == "untrusted"
    assert "signature" in verdict.reason


def test_one_trust_judges_at_many_times(root, middle, alice):
    """OpenSSL keeps the first time that a store is given; nothing of one judgement may stay for the next."""
    believed = believing(root)
    late = alice.certificate.not_after + timedelta(days=1)
    for at, status in ((AT, "trusted"), (late, "expired"), (AT, "trusted")):
        assert believed.judge(alice.certificate, [middle.certificate], at).status == status


def test_only_so_many_intermediates_are_looked_at(root, middle, alice):
    noise = [person("p256").certificate] * INTERMEDIATE_LIMIT
    assert not believing(root).judge(alice.certificate, [*noise, middle.certificate], AT).trusted
    assert believing(root).judge(alice.certificate, [middle.certificate, *noise * 100], AT).trusted


# Revocation


def listed(tmp_path, root, *crls, policy="accept") -> Trust:
    folder = tmp_path / "crls"
    folder.mkdir(exist_ok=True)
    for crl in crls:
        (folder / crl.name).write_bytes(crl.read_bytes())
    anchors = tmp_path / "root.pem"
    anchors.write_bytes(root.pem.read_bytes())
    return Trust.load(anchors, crls=folder, unknown_revocation=policy)


def test_good_revoked_and_unknown(pki, root, middle, tmp_path):
    good = pki.issue("good", middle)
    bad = pki.issue("bad", middle)
    above = pki.crl("above", root)
    below = pki.crl("below", middle, (bad,))
    believed = listed(tmp_path, root, above, below)
    verdict = believed.judge(good.certificate, [middle.certificate], AT)
    assert (verdict.status, verdict.revocation) == ("trusted", "good")
    verdict = believed.judge(bad.certificate, [middle.certificate], AT)
    assert (verdict.status, verdict.revocation) == ("revoked", "revoked")
    assert "CN=bad" in verdict.reason
    (tmp_path / "crls" / below.name).unlink()
    believed = listed(tmp_path, root)
    verdict = believed.judge(bad.certificate, [middle.certificate], AT)
    assert (verdict.status, verdict.revocation) == ("trusted", "unknown")
    assert "unable to get certificate CRL" in verdict.reason
    strict = listed(tmp_path, root, policy="refuse")
    assert strict.judge(bad.certificate, [middle.certificate], AT).status == "unknown"
    assert strict.judge(bad.certificate, [middle.certificate], AT).revocation == "unknown"


def test_a_missing_list_does_not_hide_a_revoked_intermediate(pki, root, tmp_path):
    issuer = pki.issue("fallen", root, "p256", AUTHORITY)
    holder = pki.issue("under-fallen", issuer)
    believed = listed(tmp_path, root, pki.crl("fallen-list", root, (issuer,)))
    verdict = believed.judge(holder.certificate, [issuer.certificate], AT)
    assert verdict.status == "revoked"
    assert "CN=fallen" in verdict.reason


def test_an_old_list_says_nothing(pki, root, tmp_path):
    holder = pki.issue("later", root)
    believed = listed(tmp_path, root, pki.crl("short", root, days=2))
    assert believed.judge(holder.certificate, [], AT).revocation == "good"
    verdict = believed.judge(holder.certificate, [], AT + timedelta(days=3))
    assert (verdict.status, verdict.revocation) == ("trusted", "unknown")
    assert "CRL has expired" in verdict.reason


def test_a_list_that_another_signed_says_nothing(pki, root, tmp_path):
    twin = pki.root("twin")
    twin_named_root = pki.issue("forger", None, "p256", AUTHORITY, subject="/O=Zorggroep Proef/CN=root")
    holder = pki.issue("victim", root)
    believed = listed(
        tmp_path, root, pki.crl("twin-list", twin, ()), pki.crl("forged", twin_named_root, (holder,))
    )
    verdict = believed.judge(holder.certificate, [], AT)
    assert (verdict.status, verdict.revocation) == ("trusted", "unknown")


def test_a_damaged_list_is_left_out_and_reported(pki, root, tmp_path):
    good = pki.crl("intact", root)
    folder = tmp_path / "crls"
    folder.mkdir()
    (folder / "a.crl").write_bytes(b"<html>not found</html>")
    (folder / "b.crl").write_bytes(openssl("crl", "-in", good, "-outform", "DER"))
    (folder / "c.crl").write_bytes(b"")
    odd = openssl("crl", "-in", good, "-outform", "DER").replace(b"\x02\x01\x01\x30", b"\x02\x01\x05\x30", 1)
    (folder / "d.der").write_bytes(odd)
    (folder / "ignored.txt").write_bytes(b"words")
    lists = RevocationLists.load(folder)
    assert len(lists) == 1
    assert [problem.split(": ")[0] for problem in lists.problems] == [
        f"{folder}/{name}" for name in ("a.crl", "c.crl", "d.der")
    ]
    holder = pki.issue("with-damage", root)
    assert listed(tmp_path, root).judge(holder.certificate, [], AT).revocation == "good"
    with pytest.raises(KeyStoreError, match="absent"):
        RevocationLists.load(tmp_path / "absent")


# Loading


def test_a_folder_of_anchors_with_helping_intermediates(root, middle, alice, tmp_path):
    (tmp_path / "root.crt").write_bytes(root.certificate.der)
    (tmp_path / "notes.txt").write_text("words")
    assert not Trust.load(tmp_path).judge(alice.certificate, [], AT).trusted
    (tmp_path / "intermediates").mkdir()
    (tmp_path / "intermediates" / "middle.pem").write_bytes(middle.pem.read_bytes())
    believed = Trust.load(tmp_path)
    assert believed.judge(alice.certificate, [], AT).trusted
    assert believed.anchors == (root.certificate,)
    assert not believed.judge(person("rsa").certificate, [], AT).trusted


def test_what_cannot_be_loaded_names_the_file(tmp_path):
    with pytest.raises(KeyStoreError, match="absent: there is no such file or folder"):
        Trust.load(tmp_path / "absent")
    (tmp_path / "bad.pem").write_bytes(b"words")
    with pytest.raises(KeyStoreError, match=r"bad\.pem: the file holds no certificate"):
        Trust.load(tmp_path)


@given(
    st.sampled_from(["rsa", "p256", "ed25519"]),
    st.integers(0, 100_000),
    st.integers(0, 255),
    st.booleans(),
)
def test_a_changed_certificate_is_never_trusted(kind, at, value, as_intermediate):
    original = person(kind).certificate
    data = bytearray(original.der)
    data[at % len(data)] = value
    try:
        changed = Certificate.from_der(bytes(data))
    except CertificateError:
        return
    if as_intermediate:
        assert trust().judge(original, [changed], NOW).trusted
    elif changed != original:
        assert not trust().judge(changed, [], NOW).trusted


def test_the_made_up_people_are_trusted():
    assert trust().judge(person("rsa").certificate, [], NOW).trusted
    assert authority()[1].serial_number == 1
