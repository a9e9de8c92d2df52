"""Key files that other programs write: NSS (Firefox, Thunderbird) and Java's keytool."""

from __future__ import annotations

import subprocess

import pytest

from nta_milter.errors import KeyStoreError
from nta_milter.smime.keystore import KeyRing
from tests.unit.smime.pki import AUTHORITY, Pki

PASSWORD = "sleutelbos-42"
CIPHERS = ("AES-256-CBC", "DES-EDE3-CBC", "PKCS #12 V2 PBE With SHA-1 And 3KEY Triple DES-CBC")


def run(*words: object) -> None:
    done = subprocess.run([str(word) for word in words], capture_output=True)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def source(pki):
    root = pki.root()
    middle = pki.issue("middle", root, "p256", AUTHORITY)
    return {
        kind: pki.pkcs12(
            kind, pki.issue(kind, middle, kind, email=f"{kind}@care.test"), PASSWORD, chain=(middle, root)
        )
        for kind in ("rsa", "p256")
    }


@pytest.mark.parametrize("kind", ["rsa", "p256"])
@pytest.mark.parametrize(
    "cipher", ["AES-256-CBC", "DES-EDE3-CBC", "PKCS #12 V2 PBE With SHA-1 And 3KEY Triple DES-CBC"]
)
def test_a_file_of_nss(source, tmp_path, kind, cipher):
    database = f"sql:{tmp_path}"
    run("certutil", "-N", "-d", database, "--empty-password")
    run("pk12util", "-i", source[kind], "-d", database, "-W", PASSWORD)
    names = subprocess.run(
        ["certutil", "-L", "-d", database], capture_output=True, text=True, check=True
    ).stdout
    (name,) = [line.rsplit(maxsplit=1)[0].strip() for line in names.splitlines() if line.endswith("u,u,u")]
    out = tmp_path / "nss.p12"
    run("pk12util", "-o", out, "-d", database, "-n", name, "-W", PASSWORD, "-c", cipher, "-C", cipher)
    (key,) = KeyRing.load(out, passwords=[PASSWORD.encode()]).keys
    assert key.addresses == {f"{kind}@care.test"}
    assert key.certificate.algorithm == ("rsa" if kind == "rsa" else "ec")
    with pytest.raises(KeyStoreError):
        KeyRing.load(out, passwords=[b"another"])


def test_a_file_of_java_with_two_keys(source, tmp_path):
    out = tmp_path / "java.p12"
    for kind, file in source.items():
        run(
            "keytool", "-importkeystore", "-noprompt", "-srckeystore", file, "-srcstoretype", "PKCS12",
            "-srcstorepass", PASSWORD, "-srcalias", "1", "-destalias", kind, "-destkeystore", out,
            "-deststoretype", "PKCS12", "-deststorepass", PASSWORD,
        )  # fmt: skip
    keys = KeyRing.load(out, passwords=[PASSWORD.encode()]).keys
    assert {address for key in keys for address in key.addresses} == {"rsa@care.test", "p256@care.test"}
    assert all(len(key.chain) == 1 for key in keys)
