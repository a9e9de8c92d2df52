"""Revocation lists and what names them, damaged; and web servers that answer anything."""

import socket
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.errors import CertificateError, FetchFailed
from nta_milter.smime.certificate import Certificate
from nta_milter.smime.distribution import Place, addresses, check, inspect
from nta_milter.smime.revocation import RevocationLists
from nta_milter.smime.trust import Trust
from nta_milter.worker.fetch import fetch
from tests.fuzz.mutation import many, mutated
from tests.fuzz.structure import rebuilt
from tests.laboratory.certificates import openssl
from tests.unit.smime.pki import PERSON, Pki

NAMED = f"{PERSON}\ncrlDistributionPoints=URI:http://crl.care.test/a.crl,URI:ldap://care.test/x"


class World:
    def __init__(self, folder):
        pki = Pki(folder)
        root = pki.root()
        self.holder = pki.issue("holder", root, extensions=NAMED, email="holder@care.test").certificate
        self.list = openssl("crl", "-in", pki.crl("list", root, days=2), "-outform", "DER")
        self.trust = Trust([root.certificate])
        self.at = datetime.now(UTC) + timedelta(minutes=1)
        self.place = Place(addresses(self.holder)[0], ((self.holder, root.certificate),))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("lists"))


def test_undamaged_it_counts(world):
    assert world.place.url == "http://crl.care.test/a.crl"
    assert check(world.list, world.place, world.trust, world.at, None).entries == 0


@many
@given(st.data())
def test_a_damaged_list_never_counts_as_another(world, data):
    damaged = data.draw(st.one_of(mutated([world.list]), rebuilt(world.list)))
    try:
        held = inspect(damaged)
        assert isinstance(held.entries, int)
        check(damaged, world.place, world.trust, world.at, None)
    except CertificateError:
        return
    assert text(damaged) == text(world.list)


def text(der):
    """What a list says, as openssl reads it."""
    return openssl("crl", "-inform", "DER", "-noout", "-text", stdin=der)


@many
@given(st.data())
def test_a_damaged_file_of_lists_is_told_by_one_error(world, data):
    damaged = data.draw(mutated([world.list, b"-----BEGIN X509 CRL-----\nMIIB\n-----END X509 CRL-----\n"]))
    try:
        lists = RevocationLists.of(damaged)
    except ValueError:
        return
    assert len(lists) >= 1


@many
@given(st.data())
def test_a_damaged_certificate_names_plain_http_or_nothing(world, data):
    damaged = data.draw(st.one_of(mutated([world.holder.der]), rebuilt(world.holder.der)))
    try:
        certificate = Certificate.from_der(damaged)
    except CertificateError:
        return
    assert all(url.startswith(("http://", "HTTP://")) for url in addresses(certificate))


ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/pkix-crl\r\nContent-Length: 4\r\n\r\nlist",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nlist\r\n0\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
)


@pytest.fixture(scope="module")
def server():
    """Answers one connection after the other with what ``answer`` holds."""
    listening = socket.create_server(("127.0.0.1", 0))
    answers = []
    over = threading.Event()

    def serve():
        while not over.is_set():
            connection, _ = listening.accept()
            with connection:
                if answers and connection.recv(65_536):
                    connection.sendall(answers.pop())

    thread = threading.Thread(target=serve)
    thread.start()
    yield listening.getsockname()[1], answers
    over.set()
    socket.create_connection(listening.getsockname()).close()
    thread.join()
    listening.close()


@given(st.data())
def test_any_answer_is_taken_within_its_limit_or_told_by_one_error(server, data):
    port, answers = server
    answers.append(data.draw(mutated(ANSWER)))
    try:
        found = fetch(f"http://127.0.0.1:{port}/", networks=(ip_network("127.0.0.0/8"),), size_limit=100)
    except FetchFailed:
        answers.clear()
        return
    assert found.data is not None
    assert len(found.data) <= 100
