"""A small certification authority run by the real openssl, for tests that want its bytes."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from nta_milter.smime.certificate import Certificate

KEYS = {
    "rsa": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    "rsa1024": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"),
    "rsa-pss": ("-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"),
    "p256": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "p224": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-224"),
    "p384": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"),
    "brainpool": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:brainpoolP256r1"),
    "ed25519": ("-algorithm", "ED25519"),
    "x25519": ("-algorithm", "X25519"),
    "dh": ("-algorithm", "DHX", "-pkeyopt", "dh_rfc5114:2"),
}

AUTHORITY = (
    "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash"
)
PERSON = "basicConstraints=CA:FALSE\nextendedKeyUsage=emailProtection\nsubjectKeyIdentifier=hash"


def openssl(*words: object) -> bytes:
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@dataclass(frozen=True)
class Holder:
    """A key file and a certificate file, PEM."""

    key: Path
    pem: Path

    @property
    def certificate(self) -> Certificate:
        return Certificate.from_pem(self.pem.read_bytes())


class Pki:
    """Makes keys, certificates and CRLs in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._serial = 100

    def key(self, name: str, kind: str) -> Path:
        file = self.folder / f"{name}.key"
        openssl("genpkey", *KEYS[kind], "-out", file)
        return file

    def root(
        self, name: str = "root", kind: str = "p256", extensions: str = AUTHORITY, digest: str = "sha256"
    ) -> Holder:
        return self.issue(name, None, kind, extensions, digest=digest)

    def issue(
        self,
        name: str,
        issuer: Holder | None,
        kind: str = "p256",
        extensions: str = PERSON,
        *,
        subject: str | None = None,
        email: str | None = None,
        days: int = 365,
        digest: str = "sha256",
        key: Path | None = None,
    ) -> Holder:
        key = key or self.key(name, kind)
        self._serial += 1
        if email is not None:
            extensions += f"\nsubjectAltName=email:{email}"
        configuration = self.folder / f"{name}.cnf"
        configuration.write_text(f"[ext]\n{extensions}\n[req]\ndistinguished_name=dn\n[dn]\n")
        pem = self.folder / f"{name}.crt"
        subject = subject or f"/O=Zorggroep Proef/CN={name}"
        if issuer is None:
            openssl(
                "req", "-x509", "-new", "-key", key, "-subj", subject, "-days", days, "-out", pem,
                f"-{digest}", "-config", configuration, "-extensions", "ext", "-set_serial", self._serial,
            )  # fmt: skip
            return Holder(key, pem)
        # A key for key agreement alone cannot sign a request: the authority takes its public half as it is.
        public = self.folder / f"{name}.pub"
        openssl("pkey", "-in", key, "-pubout", "-out", public)
        request = self.folder / f"{name}.csr"
        openssl(
            "req", "-new", "-key", issuer.key, "-subj", subject, "-out", request, "-config", configuration
        )
        openssl(
            "x509", "-req", "-in", request, "-force_pubkey", public, "-CA", issuer.pem, "-CAkey", issuer.key,
            "-days", days, "-set_serial", self._serial, "-extfile", configuration, "-extensions", "ext",
            f"-{digest}", "-out", pem,
        )  # fmt: skip
        return Holder(key, pem)

    def crl(
        self, name: str, issuer: Holder, revoked: tuple[Holder, ...] = (), days: int = 30, since: str = ""
    ) -> Path:
        folder = self.folder / f"crl-{name}"
        folder.mkdir()
        (folder / "index.txt").write_text("")
        (folder / "number").write_text("01\n")
        configuration = folder / "ca.cnf"
        configuration.write_text(
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={folder}/index.txt\ncrlnumber={folder}/number\n"
            f"default_md=sha256\ncertificate={issuer.pem}\nprivate_key={issuer.key}\n"
        )
        for holder in revoked:
            openssl("ca", "-config", configuration, "-revoke", holder.pem)
        file = self.folder / f"{name}.crl"
        begin = ("-crl_lastupdate", since) if since else ()
        openssl("ca", "-config", configuration, "-gencrl", "-crldays", days, *begin, "-out", file)
        return file

    def pkcs12(
        self, name: str, holder: Holder, password: str, *options: object, chain: tuple[Holder, ...] = ()
    ) -> Path:
        together = self.folder / f"{name}.all"
        together.write_bytes(b"".join(item.pem.read_bytes() for item in (holder, *chain)))
        file = self.folder / f"{name}.p12"
        openssl(
            "pkcs12", "-export", "-inkey", holder.key, "-in", together, "-out", file,
            "-passout", f"pass:{password}", *options,
        )  # fmt: skip
        return file
