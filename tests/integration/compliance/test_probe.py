"""Probing hosts over real sockets and real TLS."""

import contextlib
import datetime
import hashlib
import socket
import ssl
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from nta_milter.compliance.probe import probe, to_json
from tests.laboratory.ports import free_port

HOST = "mx.hospital.test"
EHLO = b"250-mx.hospital.test\r\n250-PIPELINING\r\n250 STARTTLS\r\n"


class Chain:
    """A certificate of HOST, the authority that issued it, and the private key."""

    def __init__(self, folder, *, names=(HOST,), days=30):
        self.authority_key = ec.generate_private_key(ec.SECP256R1())
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.authority = self._made("Authority", self.authority_key, self.authority_key, "Authority", (), 30)
        self.own = self._made(HOST, self.key, self.authority_key, "Authority", names, days)
        self.file = folder / "chain.pem"
        private = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        both = b"".join(each.public_bytes(Encoding.PEM) for each in (self.own, self.authority))
        self.file.write_bytes(private + both)

    def _made(self, subject, key, issuer_key, issuer, names, days):
        now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=60))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=subject == "Authority", path_length=None), critical=True)
        )
        if names:
            alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
            builder = builder.add_extension(alternative, critical=False)
        return builder.sign(issuer_key, hashes.SHA256())

    def record(self, usage, selector, matching):
        certificate = self.authority if usage == 2 else self.own
        if selector == 0:
            data = certificate.public_bytes(Encoding.DER)
        else:
            data = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if matching:
            data = hashlib.new({1: "sha256", 2: "sha512"}[matching], data).digest()
        return (usage, selector, matching, data)


@pytest.fixture
def chain(tmp_path):
    return Chain(tmp_path)


@contextlib.contextmanager
def serving(talk):
    """A server that has ``talk`` with one client; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            with contextlib.suppress(OSError):
                connection, _ = listening.accept()
                with connection:
                    connection.settimeout(5)
                    talk(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


def lines(*parts):
    """A talk: say each part, waiting for a line of the client in between."""

    def talk(connection):
        for number, part in enumerate(parts):
            if number:
                connection.recv(4096)
            connection.sendall(part)
        connection.recv(4096)

    return talk


def tls(chain, *, highest=ssl.TLSVersion.TLSv1_3, alone=False):
    def talk(connection):
        connection.sendall(b"220-welcome\r\n220 mx.hospital.test\r\n")
        connection.recv(4096)
        connection.sendall(EHLO)
        connection.recv(4096)
        connection.sendall(b"220 go ahead\r\n")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = highest
        if alone:
            file = chain.file.with_name("alone.pem")
            file.write_bytes(chain.file.read_bytes()[: -len(chain.authority.public_bytes(Encoding.PEM))])
            context.load_cert_chain(file)
        else:
            context.load_cert_chain(chain.file)
        with contextlib.suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(1)

    return talk


def probed(talk, records=(), **more):
    with serving(talk) as port:
        return probe(HOST, "127.0.0.1", records, port=port, patience=3, **more)


ALL = [(usage, selector, matching) for usage in (2, 3) for selector in (0, 1) for matching in (0, 1, 2)]


@pytest.mark.parametrize("kind", ALL)
def test_a_certificate_that_matches(chain, kind):
    report = probed(tls(chain), [chain.record(*kind)])
    assert report.passed, report
    assert (report.protocol, report.reasons) == ("TLSv1.3", ())
    assert report.matched.startswith(" ".join(map(str, kind)))


@pytest.mark.parametrize("kind", ALL)
def test_a_certificate_of_somebody_else(chain, kind, tmp_path_factory):
    other = Chain(tmp_path_factory.mktemp("other"))
    report = probed(tls(chain), [other.record(*kind)])
    assert [each.code for each in report.reasons] == ["probe-certificate"]
    assert not report.passed


def test_one_of_several_records_suffices(chain, tmp_path_factory):
    other = Chain(tmp_path_factory.mktemp("other"))
    report = probed(tls(chain), [(1, 1, 1, b"x"), other.record(3, 1, 1), chain.record(3, 1, 1)])
    assert report.passed


def test_without_records_nothing_matches(chain):
    assert [each.code for each in probed(tls(chain)).reasons] == ["probe-certificate"]


class TestWhatCountsForWhom:
    """With usage 3 neither name nor date counts, with usage 2 both do (RFC 7672 sections 3.1.1, 3.1.2)."""

    @pytest.mark.parametrize(("usage", "passed"), [(3, True), (2, False)])
    def test_an_expired_certificate(self, tmp_path, usage, passed):
        chain = Chain(tmp_path, days=-1)
        assert probed(tls(chain), [chain.record(usage, 1, 1)]).passed is passed

    @pytest.mark.parametrize(("usage", "passed"), [(3, True), (2, False)])
    def test_a_certificate_for_another_name(self, tmp_path, usage, passed):
        chain = Chain(tmp_path, names=("other.test",))
        assert probed(tls(chain), [chain.record(usage, 1, 1)]).passed is passed

    @pytest.mark.parametrize("names", [("*.hospital.test",), ("MX.Hospital.TEST",), ("x.test", HOST)])
    def test_names_that_fit(self, tmp_path, names):
        chain = Chain(tmp_path, names=names)
        assert probed(tls(chain), [chain.record(2, 0, 1)]).passed

    @pytest.mark.parametrize("names", [("*.test",), ("hospital.test",), ("*.mx.hospital.test",), ()])
    def test_names_that_do_not_fit(self, tmp_path, names):
        chain = Chain(tmp_path, names=names)
        assert not probed(tls(chain), [chain.record(2, 0, 1)]).passed

    def test_a_further_name_of_the_host(self, tmp_path):
        chain = Chain(tmp_path, names=("real.test",))
        assert probed(tls(chain), [chain.record(2, 0, 1)], names=("real.test",)).passed

    def test_an_authority_that_is_not_sent_along_but_published(self, chain):
        assert probed(tls(chain, alone=True), [chain.record(2, 0, 0)]).passed
        assert not probed(tls(chain, alone=True), [chain.record(2, 0, 1)]).passed


def test_tls_1_2_is_enough(chain):
    report = probed(tls(chain, highest=ssl.TLSVersion.TLSv1_2), [chain.record(3, 1, 1)])
    assert (report.passed, report.protocol) == (True, "TLSv1.2")


@pytest.mark.parametrize(
    ("talk", "code", "said"),
    [
        (lines(b"554 go away\r\n"), "probe-connection", "554 go away"),
        (lines(b"hello\r\n"), "probe-connection", "hello"),
        (lambda connection: None, "probe-connection", "closed"),
        (lines(b"220 " + b"x" * 5000), "probe-connection", "no end of line"),
        (lines(b"220-x\r\n" * 200), "probe-connection", "does not end"),
        (lines(b"220 x\r\n", b"502 no\r\n"), "probe-connection", "502 no"),
        (lines(b"220 x\r\n", b"250 only this\r\n"), "probe-starttls", "not in the reply"),
        (lines(b"220 x\r\n", EHLO, b"454 not now\r\n"), "probe-starttls", "454 not now"),
        (lines(b"220 x\r\n", EHLO, b"220 go\r\n250 injected\r\n"), "probe-tls", "before TLS began"),
        (lines(b"220 x\r\n", EHLO, b"220 go\r\n", b"no TLS at all\r\n"), "probe-tls", ""),
        (lines(b"220 x\x1b[31m\xff\r\n", b"250 STARTTLS\x1b\r\n"), "probe-starttls", ""),
    ],
)
def test_hosts_that_fail(talk, code, said):
    report = probed(talk)
    assert [each.code for each in report.reasons] == [code]
    assert said in report.reasons[0].text
    assert report.reasons[0].text.isprintable()


def test_a_host_that_says_nothing():
    def talk(connection):
        with contextlib.suppress(OSError):
            connection.recv(1)

    with serving(talk) as port:
        report = probe(HOST, "127.0.0.1", (), port=port, patience=0.2)
    assert report.reasons[0].code == "probe-connection"


def test_a_host_that_says_little_by_little():
    def talk(connection):
        with contextlib.suppress(OSError):
            for _ in range(100):
                connection.sendall(b"2")
                threading.Event().wait(0.05)

    with serving(talk) as port:
        report = probe(HOST, "127.0.0.1", (), port=port, patience=0.3)
    assert report.reasons[0].code == "probe-connection"


def test_nobody_there():
    report = probe(HOST, "127.0.0.1", (), port=free_port(), patience=1)
    assert "refused" in report.reasons[0].text


def test_the_json_object(chain):
    described = to_json(probed(tls(chain), [chain.record(3, 1, 1)]))
    assert described.keys() == {"host", "address", "passed", "protocol", "cipher", "matched", "reasons"}
    assert described["passed"] is True
