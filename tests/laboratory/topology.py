"""Laboratories in which care.test is arranged as packaging/postfix/topologies shows it.

A topology is a folder: ``main.cf`` and ``master.cf`` replace parameters and services of the shipped
fragments, ``next-hop`` is where the routing tables lead what stays inside, ``nta-milter.toml`` belongs in
conf.d, ``NAME.more`` is added at the end of the shipped table NAME, and any other file stands in
/etc/postfix, but rspamd's (``rspamd.py``). Its documentation addresses become the laboratory's.
"""

from __future__ import annotations

import contextlib
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.laboratory.certificates import Certificates, Pair, openssl
from tests.laboratory.client import Session
from tests.laboratory.dns import Zone
from tests.laboratory.laboratory import CLIENT, Laboratory
from tests.laboratory.names import secure_download
from tests.laboratory.namespace import INSIDE, Namespace, Process
from tests.laboratory.postfix import CARE, NTAMX_ADDRESS, SHIPPED, Postfix

TOPOLOGIES = SHIPPED / "topologies"
PLACES = {
    "192.0.2.25": NTAMX_ADDRESS,
    "192.0.2.26": "127.0.0.13",
    "192.0.2.40": "127.0.0.51",
    "/etc/ssl/certs/ca-certificates.crt": "/etc/postfix/authority.pem",
    "exchange-authority.pem": "authority.pem",
    "protection.outlook.com": "protection.outlook.test",
}
"""What stands in the shipped files: addresses (ntamx, the listener for the mail server inside, that server),
authorities of servers, and Microsoft's domain."""

SECRET = "geheim-van-niemand"
"""What a provider's rule puts into each of our mails."""

FROM_INSIDE = "127.0.0.13:25"
INNER = "127.0.0.51"
INSIDE_ROUTE = re.compile(r"nta-inside:\S+")


def fragment(topology: str, name: str) -> str:
    """A shipped file with the laboratory's addresses; empty where the topology has none of that name."""
    files = [TOPOLOGIES / layer / name for layer in topology.split()]
    return "".join(placed(file.read_text()) for file in files if file.exists())


def placed(text: str) -> str:
    """A text with the addresses of the laboratory."""
    for example, here in PLACES.items():
        text = re.sub(rf"(?<!\w){re.escape(example)}(?!\w)", here, text)
    return text


def entries(text: str, width: int) -> dict[tuple[str, ...], str]:
    """The logical lines of main.cf (``width`` 1) or master.cf (2) by their first words; the last counts."""
    found: dict[tuple[str, ...], str] = {}
    key: tuple[str, ...] = ()
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line[0].isspace():
            found[key] += line + "\n"
        else:
            key = (
                tuple(line.replace("=", " = ", 1).split()[:width]) if width == 1 else tuple(line.split()[:2])
            )
            found[key] = line + "\n"
    return found


class Arranged(Postfix):
    """The Postfix of care.test with the files of a topology."""

    def __init__(self, topology: str, namespace: Namespace, tls: Pair, more: Mapping[str, str]) -> None:
        super().__init__(CARE, namespace, tls)
        self._topology = topology
        self._more = dict(more)

    def _files(self) -> dict[str, str]:
        files = super()._files()
        for name, width in (("main.cf", 1), ("master.cf", 2)):
            joined = entries(files[name], width) | entries(fragment(self._topology, name), width)
            files[name] = "".join(joined.values())
        for file in (file for layer in self._topology.split() for file in (TOPOLOGIES / layer).iterdir()):
            if file.is_dir() or file.name == "rspamd.conf.local":
                continue
            if file.suffix == ".more":
                files[file.stem] += placed(file.read_text())
            elif file.name not in ("main.cf", "master.cf", "next-hop", "nta-milter.toml"):
                files[file.name] = placed(file.read_text())
        if hop := fragment(self._topology, "next-hop").strip():
            for table in ("nta_route", "nta_hand", "nta_requeue"):
                files[table] = INSIDE_ROUTE.sub(hop, files[table])
        return {**files, **self._more}


class Topology(Laboratory):
    """A laboratory with a topology at care.test; "front scanner" is one on top of another.

    ``inner`` is the name that the mail server inside proves by its certificate, ``None`` for none;
    ``settings`` come after those of the topology's nta-milter.toml.
    """

    def __init__(
        self,
        directory: Path,
        topology: str,
        *,
        inner: str | None = None,
        inner_asks: bool = False,
        **settings: Any,
    ) -> None:
        shipped = tomllib.loads(fragment(topology, "nta-milter.toml"))
        if any("secret_header" in each for each in shipped.get("listeners", ())):
            folder = INSIDE / "care" / "nta-milter"
            secrets = secure_download()["secrets"] | {"connector_secret": f"{folder}/connector-secret"}
            shipped["secrets"] = secrets
        super().__init__(directory, download=True, **{**shipped, **settings})
        self.topology = topology
        self._inner_name = inner
        self._inner_asks = inner_asks
        self._inner: Process | None = None
        self.users_from = INNER if inner else CLIENT
        """The address that mail of our users comes from."""

    def start(self) -> None:
        """Build everything, and the mail server inside where there is one."""
        super().start()
        if self._inner_name is not None:
            name, domain = self._inner_name.rsplit(".", 2)[0], ".".join(self._inner_name.split(".")[-2:])
            if domain == CARE.domain:
                self.dns.extend(domain, [f"{name} A {INNER}"])
            else:
                self.dns.reload(Zone(domain, [f"{name} A {INNER}"]))
            self.start_inner()

    def _write(self) -> None:
        super()._write()
        authority = authority_of(self.certificates).certificate.read_text()
        pair = certified(self.certificates, "mx.care.test")
        client = pair.key.read_text() + pair.certificate.read_text()
        care = Arranged(
            self.topology,
            self.namespace,
            self.certificates.host("nta.care.test"),
            {"authority.pem": authority, "to-m365.pem": client} if self._inner_name else {},
        )
        self.postfix["care"] = care
        folder = self.directory / "care" / "nta-milter"
        (folder / "connector-secret").write_text(SECRET + "\n")
        (folder / "connector-secret").chmod(0o600)
        keys = folder / "keys"
        self.certificates.pkcs12(self.certificates.gateway("care.test"), keys / "gateway.p12")
        for name, text in care._files().items():
            (care.home / "etc" / name).write_text(text)

    def _write_opendkim(self) -> None:
        """The signer signs for those listeners that our own users' mail comes in by."""
        super()._write_opendkim()
        signer = self.directory / "opendkim" / "care.conf"
        signer.write_text(signer.read_text() + "MacroList nta_side=outbound|connector\n")

    def start_inner(self, *, tls: bool = True, name: str = "") -> None:
        """Start the mail server inside; without TLS, or under another name than its own."""
        self.stop_inner()
        pair = certified(self.certificates, name or self._inner_name or "")
        inside = self.directory / "inner"
        inside.mkdir(exist_ok=True)
        authority = authority_of(self.certificates).certificate
        for source, target in ((pair.certificate, "tls.pem"), (pair.key, "tls.key"), (authority, "ca.pem")):
            (inside / target).write_bytes(source.read_bytes())
        names = ("tls.pem", "tls.key", *(["ca.pem"] if self._inner_asks else []))
        files = [str(INSIDE / "inner" / each) for each in names] if tls else []
        self._inner = self._daemon(
            *(sys.executable, "-m", "tests.laboratory.inner", INSIDE / "mailboxes" / "care", f"{INNER}:25"),
            *files,
            ready="ready",
        )

    def stop_inner(self) -> None:
        """End the mail server inside."""
        if self._inner is not None:
            self._inner.end(kill=True)
            self._inner = None

    @contextlib.contextmanager
    def session(
        self,
        listener: str = "submission",
        login: str | None = None,
        *,
        source: str = CLIENT,
        tls: bool = True,
        certificate: Pair | None = None,
    ) -> Iterator[Session]:
        """As Laboratory's; our users' mail comes from the mail server inside, where there is one."""
        if self._inner_name is not None and listener == "submission":
            listener, login, source = FROM_INSIDE, None, self.users_from
        with super().session(listener, login, source=source, tls=tls, certificate=certificate) as client:
            yield client


_CERTIFIED = """
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
[host]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = serverAuth,clientAuth
subjectAltName = DNS:{name}
"""


def authority_of(certificates: Certificates) -> Pair:
    """The authority that certifies mail servers, which is another than that of S/MIME."""
    return _made(certificates, "Authority for servers", "authority", None)


def certified(certificates: Certificates, name: str) -> Pair:
    """A certificate for a host name, for either side of a connection."""
    return _made(certificates, name, "host", authority_of(certificates))


def _made(certificates: Certificates, name: str, kind: str, issuer: Pair | None) -> Pair:
    folder = certificates.directory / "servers"
    folder.mkdir(exist_ok=True)
    pair = Pair(folder / f"{name}.key", folder / f"{name}.pem")
    if not pair.certificate.exists():
        settings = folder / f"{name}.cnf"
        settings.write_text(_CERTIFIED.format(name=name))
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", pair.key)
        request = openssl("req", "-new", "-key", pair.key, "-config", settings)
        by = (
            ("-key", pair.key)
            if issuer is None
            else ("-CA", issuer.certificate, "-CAkey", issuer.key, "-CAcreateserial")
        )
        openssl(
            *("x509", "-req", *by, "-days", "825", "-extfile", settings, "-extensions", kind),
            *("-out", pair.certificate),
            stdin=request,
        )
    return pair
