"""Talking to a receiving host as a mail server would, up to TLS: does its certificate match its TLSA records?

Only for ``check --probe``: mail never waits for a probe, because Postfix's mandatory-DANE transport does the
same again at delivery.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from OpenSSL import SSL
from OpenSSL.crypto import X509, X509Store, X509StoreContext, X509StoreContextError, X509StoreFlags

from nta_milter.compliance.codes import Code
from nta_milter.compliance.dane import PORT, Tlsa, matches, show, tlsa_fault
from nta_milter.compliance.reasons import reason
from nta_milter.compliance.report import Reason

PATIENCE = 10.0
"""Seconds for one address, from connecting to the last byte of the handshake."""

_LINE_LIMIT = 2048
_REPLY_LIMIT = 100


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """One address of one host. ``matched`` is the TLSA record that the certificate satisfies."""

    host: str
    address: str
    protocol: str | None = None
    cipher: str | None = None
    matched: str | None = None
    reasons: tuple[Reason, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether mail could be handed to this address by mandatory DANE now."""
        return self.matched is not None


def to_json(report: ProbeReport) -> dict[str, object]:
    """One element of ``probes`` in ``check --probe --json``."""
    return {
        "host": report.host,
        "address": report.address,
        "passed": report.passed,
        "protocol": report.protocol,
        "cipher": report.cipher,
        "matched": report.matched,
        "reasons": [{"code": each.code, "text": each.text} for each in report.reasons],
    }


def probe(
    host: str,
    address: str,
    records: Sequence[Tlsa],
    *,
    names: Sequence[str] = (),
    port: int = PORT,
    patience: float = PATIENCE,
) -> ProbeReport:
    """Connect to one address of ``host``, ask for STARTTLS and compare what it presents.

    ``records`` are its TLSA records; ``names`` are further names that its certificate may carry where its
    issuer is what the TLSA record pins (RFC 7672 section 3.2.2). Whatever happens becomes the report.
    """
    report = ProbeReport(host, address)
    try:
        session = _Session(address, port, patience)
    except OSError as error:
        return _failed(report, Code.PROBE_CONNECTION, error.strerror or str(error))
    with session:
        try:
            session.reply(b"220")
            session.command(b"EHLO " + socket.getfqdn().encode("ascii", "replace"))
            extensions = session.reply(b"250")
        except OSError as error:
            return _failed(report, Code.PROBE_CONNECTION, str(error))
        try:
            if b"STARTTLS" not in (line.strip().upper() for line in extensions):
                return _failed(report, Code.PROBE_STARTTLS, "not in the reply to EHLO")
            session.command(b"STARTTLS")
            session.reply(b"220")
        except OSError as error:
            return _failed(report, Code.PROBE_STARTTLS, str(error))
        try:
            connection = session.handshake(host)
        except OSError as error:
            return _failed(report, Code.PROBE_TLS, str(error))
        report = replace(
            report, protocol=connection.get_protocol_version_name(), cipher=connection.get_cipher_name()
        )
        chain = connection.get_peer_cert_chain() or []
        try:
            matched = match(chain, records, (host, *names))
            subject = _subject(chain)
        except (ValueError, UnsupportedAlgorithm) as error:
            return _failed(report, Code.PROBE_CERTIFICATE, f"it cannot be read: {error}")
        if matched is None:
            return _failed(report, Code.PROBE_CERTIFICATE, subject)
        return replace(report, matched=show(matched))


def match(chain: Sequence[X509], records: Sequence[Tlsa], names: Sequence[str]) -> Tlsa | None:
    """The first record that a chain, the host's own certificate first, satisfies (RFC 7672 section 3.1)."""
    certificates = [certificate.to_cryptography() for certificate in chain]
    for record in records:
        if not certificates or tlsa_fault(record):
            continue
        if record[0] == 3:
            # The host's own key: neither names nor dates count (RFC 7672 section 3.1.1).
            if matches(certificates[0], record):
                return record
        elif _issued_by(chain, record) and _carries(certificates[0], names):
            return record
    return None


def _issued_by(chain: Sequence[X509], record: Tlsa) -> bool:
    """Whether the chain leads validly to a certificate that a usage 2 record pins."""
    anchors = [each for each in chain if matches(each.to_cryptography(), record)]
    if record[1:3] == (0, 0):
        anchors.append(X509.from_cryptography(x509.load_der_x509_certificate(record[3])))
    if not anchors:
        return False
    store = X509Store()
    for anchor in anchors:
        store.add_cert(anchor)
    # The pinned issuer need not be self-signed.
    store.set_flags(X509StoreFlags.PARTIAL_CHAIN)
    try:
        X509StoreContext(store, chain[0], list(chain[1:])).verify_certificate()
    except X509StoreContextError:
        return False
    return True


def _carries(certificate: x509.Certificate, names: Sequence[str]) -> bool:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return False
    carried = {name.lower() for name in extension.value.get_values_for_type(x509.DNSName)}
    return any(name in carried or "*." + name.partition(".")[2] in carried for name in names)


def _subject(chain: Sequence[X509]) -> str:
    if not chain:
        return "no certificate"
    return "certificate of " + (chain[0].to_cryptography().subject.rfc4514_string() or "nobody")


def _failed(report: ProbeReport, code: Code, detail: str) -> ProbeReport:
    return replace(report, reasons=(reason(code, detail),))


class _Session:
    """An SMTP connection with one limit in time for all of it; raises OSError for whatever goes wrong."""

    def __init__(self, address: str, port: int, patience: float) -> None:
        self._ends = time.monotonic() + patience
        self._socket = socket.create_connection((address, port), timeout=patience)
        self._buffer = b""

    def __enter__(self) -> _Session:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()

    def command(self, line: bytes) -> None:
        self._wait()
        self._socket.sendall(line + b"\r\n")

    def reply(self, expected: bytes) -> list[bytes]:
        """The text of each line of a reply (RFC 5321 section 4.2.1) that must have the code ``expected``."""
        lines: list[bytes] = []
        while len(lines) < _REPLY_LIMIT:
            line = self._line()
            lines.append(line[4:])
            if line[:3] != expected:
                raise OSError(f"it said {line.decode('ascii', 'replace')!r}")
            if line[3:4] != b"-":
                return lines
        raise OSError("its reply does not end")

    def handshake(self, name: str) -> SSL.Connection:
        if self._buffer:
            raise OSError("it sent text before TLS began")
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        connection = SSL.Connection(context, None)
        connection.set_tlsext_host_name(name.encode("ascii"))
        connection.set_connect_state()
        while True:
            try:
                connection.do_handshake()
                return connection
            except SSL.WantReadError:
                self._exchange(connection)
            except SSL.Error as error:
                said = error.args[0] if error.args else ()
                raise OSError("; ".join(each[2] for each in said) or "the handshake failed") from error

    def _exchange(self, connection: SSL.Connection) -> None:
        with contextlib.suppress(SSL.WantReadError):
            while True:
                self._socket.sendall(connection.bio_read(65536))
        connection.bio_write(self._receive())

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            if len(self._buffer) > _LINE_LIMIT:
                raise OSError("its reply has no end of line")
            self._buffer += self._receive()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.rstrip(b"\r")

    def _receive(self) -> bytes:
        self._wait()
        data = self._socket.recv(4096)
        if not data:
            raise OSError("it closed the connection")
        return data

    def _wait(self) -> None:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("it takes too long")
        self._socket.settimeout(left)
