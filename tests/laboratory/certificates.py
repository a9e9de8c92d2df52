"""Keys and certificates of everybody in the laboratory, made by the real openssl."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

PASSWORD = "sleutelbos-42"
"""The password of every PKCS#12 file in the laboratory."""

_CONFIGURATION = """
[req]
distinguished_name = name
prompt = no
[name]
CN = {common}
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[mail]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature,keyEncipherment
extendedKeyUsage = emailProtection
subjectAltName = {alternative}
[host]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature,keyEncipherment
extendedKeyUsage = serverAuth
subjectAltName = {alternative}
"""


class OpensslError(Exception):
    """openssl refused; the text is what it said."""


def openssl(*arguments: str | Path, stdin: bytes | None = None) -> bytes:
    """What ``openssl ARGUMENTS`` writes to its standard output; raises OpensslError with its words."""
    done = subprocess.run(["openssl", *map(str, arguments)], input=stdin, capture_output=True)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise OpensslError(f"openssl {' '.join(map(str, arguments))}: {said}")
    return done.stdout


@dataclass(frozen=True)
class Pair:
    """A private key and its certificate, PEM."""

    key: Path
    certificate: Path

    def tlsa(self) -> str:
        """The RDATA of a TLSA record ``3 1 1`` for this certificate (RFC 6698, RFC 7671)."""
        public = openssl("x509", "-in", self.certificate, "-noout", "-pubkey")
        der = openssl("pkey", "-pubin", "-outform", "DER", stdin=public)
        return "3 1 1 " + hashlib.sha256(der).hexdigest()


class Certificates:
    """The folder of all keys; each is made when it is first asked for and kept."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def authority(self) -> Pair:
        """The certification authority that issues everybody's S/MIME certificate."""
        made = self._pair("authority")
        if not made.certificate.exists():
            self._request(made, "Proef-CA voor beveiligde mail", "DNS:authority.test")
            self._sign(made, made, "authority", days=3650, own=True)
        return made

    def person(self, address: str, name: str) -> Pair:
        """A personal S/MIME certificate with the address as rfc822Name."""
        return self._issue(address, name, f"email:{address}", "mail")

    def gateway(self, domain: str) -> Pair:
        """A domain's S/MIME certificate, with the domain as dNSName."""
        return self._issue(f"gateway-{domain}", f"Gateway {domain}", f"DNS:{domain}", "mail")

    def host(self, name: str) -> Pair:
        """A self-signed TLS certificate, as DANE-EE needs no authority."""
        made = self._pair(name)
        if not made.certificate.exists():
            self._request(made, name, f"DNS:{name}")
            self._sign(made, made, "host", days=825, own=True)
        return made

    def pkcs12(self, pair: Pair, target: Path) -> Path:
        """Key, certificate and authority in one PKCS#12 file under PASSWORD."""
        content = ("-inkey", pair.key, "-in", pair.certificate, "-certfile", self.authority.certificate)
        openssl("pkcs12", "-export", *content, "-out", target, "-passout", f"pass:{PASSWORD}")
        return target

    def plain_key(self, name: str) -> Path:
        """A bare RSA key, for DKIM."""
        target = self.directory / f"{name}.key"
        if not target.exists():
            _generate(target)
        return target

    def _pair(self, name: str) -> Pair:
        return Pair(self.directory / f"{name}.key", self.directory / f"{name}.pem")

    def _issue(self, name: str, common: str, alternative: str, kind: str) -> Pair:
        made = self._pair(name)
        if not made.certificate.exists():
            authority = self.authority
            self._request(made, common, alternative)
            self._sign(made, authority, kind, days=825)
        return made

    def _request(self, pair: Pair, common: str, alternative: str) -> None:
        pair.certificate.with_suffix(".cnf").write_text(
            _CONFIGURATION.format(common=common, alternative=alternative)
        )
        _generate(pair.key)
        paths = (
            "-config",
            pair.certificate.with_suffix(".cnf"),
            "-out",
            pair.certificate.with_suffix(".csr"),
        )
        openssl("req", "-new", "-utf8", "-key", pair.key, *paths)

    def _sign(self, pair: Pair, issuer: Pair, kind: str, *, days: int, own: bool = False) -> None:
        names = pair.certificate.with_suffix(".csr"), pair.certificate.with_suffix(".cnf")
        by = ("-key", pair.key) if own else ("-CA", issuer.certificate, "-CAkey", issuer.key)
        period = ("-days", str(days), "-sha256", "-extfile", names[1], "-extensions", kind)
        serial = "0x" + hashlib.sha256(str(pair.certificate).encode()).hexdigest()[:16]
        openssl(
            "x509", "-req", "-in", names[0], *by, "-set_serial", serial, *period, "-out", pair.certificate
        )


def _generate(target: Path) -> None:
    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", target)
