"""What somebody tries on purpose or by bad luck, through the real milter process: nothing leaves in clear."""

import base64
import resource
from pathlib import Path

import pytest

from tests.laboratory.alone import Alone
from tests.laboratory.certificates import openssl

BSN = "Het BSN van de patiënt is 123456782.".encode()
FROM = (b"From", b" doctor@care.test")
PLAIN = [FROM, (b"To", b" jan@citizen.test"), (b"Subject", b" Overleg"), (b"MIME-Version", b" 1.0")]
TEXT = [*PLAIN, (b"Content-Type", b" text/plain; charset=utf-8")]
ARCHIVE = [
    *PLAIN,
    (b"Content-Type", b" application/x-7z-compressed; name=dossier.7z"),
    (b"Content-Transfer-Encoding", b" base64"),
]
UNREADABLE = base64.encodebytes(b"7z\xbc\xaf\x27\x1c" + b"x" * 100).replace(b"\n", b"\r\n")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    with Alone(tmp_path_factory.mktemp("alone"), 15331) as running:
        yield running


def send(alone, recipients, fields, body, *, login="doctor@care.test", sender="doctor@care.test", **client):
    with alone.mta(login=login, **client) as mta:
        return mta.send(sender, recipients, fields, body)


# Envelope addresses that Postfix sends elsewhere than they seem to say.


@pytest.mark.parametrize(
    "recipient",
    [
        "jan%citizen.test@care.test",
        "citizen.test!jan@care.test",
        '"jan@citizen.test"@care.test',
        "jan@citizen.test@care.test",
        "jan@citizen.test (@care.test",
        "jan%citizen.test",
        "citizen.test!jan",
        "@care.test:jan@citizen.test",
    ],
)
@pytest.mark.parametrize(("fields", "body"), [(TEXT, BSN), (ARCHIVE, UNREADABLE)])
def test_invariant_1_an_address_that_names_another_host_is_outside(alone, recipient, fields, body):
    actions = send(alone, [recipient], fields, body)
    assert actions.reply.startswith("550 5.7.1 "), actions


# Ciphertext with something readable beside it.

PGP = (
    b"-----BEGIN PGP MESSAGE-----\r\n\r\n"
    + base64.b64encode(b"\xc1\x0c" + b"y" * 60)
    + b"\r\n=abcd\r\n-----END PGP MESSAGE-----\r\n"
)
PGP_MIME = [
    *PLAIN,
    (b"Content-Type", b' multipart/encrypted; protocol="application/pgp-encrypted"; boundary=b'),
    (b"Sensitivity", b" private"),
]
PGP_PARTS = (
    b"--b\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n"
    b"--b\r\nContent-Type: application/octet-stream\r\n\r\n" + PGP
)


def test_ciphertext_alone_passes(alone):
    assert send(alone, ["jan@citizen.test"], [*TEXT, (b"Sensitivity", b" private")], PGP).untouched
    assert send(alone, ["jan@citizen.test"], PGP_MIME, PGP_PARTS + b"--b--\r\n").untouched


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (TEXT, PGP + b"\r\n" + BSN),
        (PGP_MIME, PGP_PARTS + b"--b\r\nContent-Type: text/plain\r\n\r\n" + BSN + b"\r\n--b--\r\n"),
    ],
)
def test_invariant_1_words_beside_ciphertext_are_no_ciphertext(alone, fields, body):
    actions = send(alone, ["jan@citizen.test"], fields, body)
    assert actions.reply.startswith("550 5.7.1 "), actions


# Content that a reader sees and a careless program does not.


def typed(kind, *more):
    return [*PLAIN, (b"Content-Type", kind), *more]


MULTIPART = typed(b" multipart/mixed; boundary=b")
CELLS = b"".join(b"<td>%c</td>\r\n" % digit for digit in b"123456782")


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ([FROM, (b"To", b' "BSN 123456782" <jan@citizen.test>')], b"hoi"),
        ([*PLAIN[:2], (b"Subject", b" =?utf-8?q?BSN_1234?=\r\n =?utf-8?q?56782?=")], b"hoi"),
        (MULTIPART, BSN + b"\r\n--b\r\n\r\nhoi\r\n--b--\r\n"),
        (MULTIPART, b"--b\r\n\r\nhoi\r\n--b--\r\n" + BSN),
        (typed(b" image/png; name=lijst.csv"), BSN),
        (typed(b" text/plain"), b"BSN is 123 456\r\n782"),
        (typed(b" text/html"), b"BSN " + CELLS),
        (typed(b" text/html"), b"B&#83;N 12345<b></b>6&#55;8<!-- x -->2"),
        (typed(b" text/plain; charset=utf-7"), b"B+AFM-N +ADEAMgAzADQANQA2ADcAOAAy-"),
        (
            typed(b" text/plain; charset=utf-16", (b"Content-Transfer-Encoding", b" base64")),
            base64.encodebytes("Het BSN is 123456782".encode("utf-16-be")),
        ),
        (
            typed(b" text/plain", (b"Content-Transfer-Encoding", b" quoted-printable")),
            b"BSN 1234=\r\n56782",
        ),
        (
            typed(b" multipart/mixed; boundary=a; boundary*0=b"),
            b"--b\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            + base64.b64encode(BSN)
            + b"\r\n--b--\r\n--a\r\n\r\nhoi\r\n--a--\r\n",
        ),
        (
            typed(b" message/rfc822", (b"Content-Transfer-Encoding", b" base64")),
            base64.encodebytes(b"Subject: x\r\nContent-Type: text/plain\r\n\r\n" + BSN),
        ),
    ],
)
def test_invariant_1_a_number_is_found_where_a_reader_sees_it(alone, fields, body):
    actions = send(alone, ["jan@citizen.test"], fields, body)
    assert actions.reply.startswith("550 5.7.1 "), actions


# Replies: what libmilter does not take would become a 4xx without end.


@pytest.mark.parametrize("local", ["a%b", "é", "a" * 2000])
def test_a_refusal_stays_a_refusal_whatever_it_names(alone, local):
    fields = [(b"From", f" {local}@citizen.test".encode()), *TEXT[1:]]
    actions = send(alone, ["nurse@hospital.test"], fields, BSN)
    begin = "550 5.7.1 sensitive mail (a citizen service number in body) to nurse@hospital.test is not sent: "
    assert actions.reply.startswith(begin + "the domain of "), actions
    assert len(actions.reply) < 512


def test_a_reply_names_at_most_what_fits(alone):
    actions = send(alone, [f"jan@{i}.{'x' * 60}.invalid..test" for i in range(30)], TEXT, BSN)
    assert actions.reply.startswith("550 5.7.1 "), actions
    assert len(actions.reply) < 512


def test_a_field_that_grows_too_long_is_refused_with_its_queue_id(alone):
    fields = [*PLAIN[:2], (b"Subject", b" [veilig] " + b"\xe9" * 25_000)]
    actions = send(alone, ["colleague@care.test"], fields, b"hoi")
    assert actions.reply.startswith("554 5.6.0 a header field of more than "), actions
    alone.wait_for('4XYZ: event=refused error="a header field')


def test_invariant_8_what_libmilter_does_not_take_stays_unopened(alone):
    doctor = alone.certificates.person("doctor@care.test", "Dokter de Wit")
    content = b"Content-Type: text/plain; x=" + b"y" * 70_000 + b"\r\n\r\nhoi"
    mail = openssl("cms", "-encrypt", "-aes256", doctor.certificate, stdin=content)
    head, _, tail = mail.replace(b"\r\n", b"\n").partition(b"\n\n")
    described = [tuple(line.split(b":", 1)) for line in head.split(b"\n")]
    fields = [(b"From", b" nurse@hospital.test"), (b"To", b" doctor@care.test"), *described]
    client = {"side": "ntamx", "login": "", "sender": "nurse@hospital.test"}
    actions = send(alone, ["doctor@care.test"], fields, tail.replace(b"\n", b"\r\n"), **client)
    assert actions.verdict == "a", actions
    assert actions.body is None
    assert any(b"smime=neutral (not opened)" in value for _, value in actions.added)


# Recipients who get copies of their own.


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    code = folder / "code"
    code.write_text("appelboom-4821-fiets\n")
    code.chmod(0o600)
    with Alone(folder / "alone", 15332, download=True) as running:
        for name in ("jan", "piet"):
            running.command("recipients", "add", f"{name}@citizen.test", "--code-file", str(code))
        yield running


def test_two_portal_recipients_of_one_domain_get_copies_of_their_own(stored):
    fields = [FROM, (b"To", b" jan@citizen.test, piet@citizen.test"), *TEXT[2:]]
    actions = send(stored, ["jan@citizen.test", "piet@citizen.test"], fields, BSN)
    assert actions.verdict == "a", actions
    assert actions.removed == [b"<jan@citizen.test>", b"<piet@citizen.test>"]
    (commit,) = actions.recipients
    assert commit.startswith(b"<commit+")
    assert BSN not in actions.body
    stored.wait_for("event=outgoing route=portal,portal")


def test_a_recipient_who_is_named_twice_gets_one_mail(stored):
    actions = send(stored, ["jan@citizen.test", "jan@citizen.test"], TEXT, BSN)
    assert actions.verdict == "a", actions
    assert dict(actions.headers(TEXT))[b"To"] == b" jan@citizen.test"
    assert BSN not in actions.body


# The process.


def test_a_full_disk_is_told_to_the_log_and_not_to_strangers(alone):
    (worker,) = Path(f"/proc/{alone.pid}/task/{alone.pid}/children").read_text().split()
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(int(worker), resource.RLIMIT_FSIZE, (1_500_000, resource.RLIM_INFINITY))
    try:
        client = {"side": "inbound", "login": "", "sender": "jan@citizen.test"}
        actions = send(alone, ["doctor@care.test"], TEXT, b"hoi\r\n" * 400_000, **client)
    finally:
        resource.prlimit(int(worker), resource.RLIMIT_FSIZE, unlimited)
    assert actions.reply == "451 4.3.0 the message cannot be handled now, try again later", actions
    alone.wait_for(f'4XYZ: event=refused error="{alone.directory}/milter/spool: cannot be written')


def test_a_reload_says_what_it_does_not_change(alone):
    good = alone.configuration.read_text()
    try:
        alone.configuration.write_text(good.replace("workers = 1", "workers = 2\nthreads = 3"))
        alone.reload()
        alone.wait_for("event=reload-incomplete restart_needed_for=milter.workers,milter.threads")
        alone.wait_for("event=reloaded")
    finally:
        alone.configuration.write_text(good)
        alone.reload()
        alone.wait_for("event=reloaded", times=2)
    assert alone.log.count("event=reload-incomplete") == 1
