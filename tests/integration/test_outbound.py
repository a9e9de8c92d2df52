"""What leaves: rules, marks, sizes, ciphertext, threads, through the real milter process."""

import base64
from email.parser import BytesParser
from email.policy import default

import pytest

from tests.laboratory.alone import Alone
from tests.laboratory.certificates import openssl

RULES = [
    {"name": "newsletter", "sender": "news@care.test", "recipient": "*", "sensitive": "no"},
    {"name": "board", "recipient": "board@hospital.test", "sensitive": "yes", "subject": "keep"},
    {"name": "modern", "recipient": "modern@hospital.test", "cipher": "aes-256-gcm"},
    {"name": "small", "recipient": "small@hospital.test", "size_limit": 10_000},
    {"name": "never", "recipient": "@refused.test", "route": "reject"},
    {"name": "portal", "recipient": "portal@hospital.test", "route": "portal"},
    {"name": "readable", "recipient": "readable@hospital.test", "route": "dane"},
]
SECRET = b"BSN 123456782, met de groeten van dokter de Wit.\r\n"


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    header = {"name": "X-Agreed", "value": "NTA 7516"}
    with Alone(tmp_path_factory.mktemp("alone"), 15313, rules=RULES, nta_header=header) as running:
        yield running


def fields_to(recipient, subject="Overleg", *more, sender="doctor@care.test"):
    return [
        (b"From", f" Dokter de Wit <{sender}>".encode()),
        (b"To", f" {recipient}".encode()),
        (b"Subject", f" {subject}".encode()),
        (b"Message-ID", b" <1@care.test>"),
        *more,
    ]


def send(alone, recipient, fields, body, *, sender="doctor@care.test"):
    with alone.mta(login=sender) as mta:
        return mta.send(sender, [recipient], fields, body)


def opened(alone, actions, fields):
    """The message as the hospital reads it: decrypted and verified by openssl."""
    gateway = alone.certificates.gateway("hospital.test")
    mail = b"".join(b"%b:%b\r\n" % pair for pair in actions.headers(fields)) + b"\r\n" + actions.body
    inner = openssl(*("cms", "-decrypt", "-recip", gateway.certificate, "-inkey", gateway.key), stdin=mail)
    trust = alone.certificates.authority.certificate
    content = openssl("cms", "-verify", "-CAfile", trust, stdin=inner)
    return BytesParser(policy=default).parsebytes(content)


def value(actions, fields, name):
    return [v.strip() for n, v in actions.headers(fields) if n.lower() == name.lower()]


def test_an_exempted_sender_passes_and_is_audited(alone):
    fields = fields_to("jan@citizen.test", sender="news@care.test")
    actions = send(alone, "jan@citizen.test", fields, SECRET, sender="news@care.test")
    assert actions.verdict == "a"
    assert actions.untouched
    assert '"event": "exempted"' in alone.audit
    assert "newsletter" in alone.audit


def test_an_exempted_sender_is_whom_the_login_names(alone):
    fields = fields_to("jan@citizen.test")
    with alone.mta(login="doctor@care.test") as mta:
        actions = mta.send("news@care.test", ["jan@citizen.test"], fields, SECRET)
    assert actions.reply.startswith("550 5.7.1 ")
    with alone.mta(address="127.0.0.1") as mta:
        assert mta.send("news@care.test", ["jan@citizen.test"], fields, SECRET).untouched


def test_a_rule_makes_mail_sensitive_and_may_keep_the_subject(alone):
    fields = fields_to("board@hospital.test", "Agenda")
    actions = send(alone, "board@hospital.test", fields, b"Tot dan.\r\n")
    assert value(actions, fields, b"Subject") == [b"Agenda"]
    assert opened(alone, actions, fields)["Subject"] == "Agenda"


def test_a_rule_chooses_the_cipher(alone):
    fields = fields_to("modern@hospital.test")
    actions = send(alone, "modern@hospital.test", fields, SECRET)
    (kind,) = value(actions, fields, b"Content-Type")
    assert b"authEnveloped-data" in kind
    assert opened(alone, actions, fields).get_content().rstrip() == SECRET.decode().rstrip()


def test_names_of_people_travel_inside(alone):
    to = "Jan Jansen (oncologie) <nurse@hospital.test>, zuster@hospital.test"
    fields = fields_to(to)
    actions = send(alone, "nurse@hospital.test", fields, SECRET)
    assert value(actions, fields, b"From") == [b"doctor@care.test"]
    assert value(actions, fields, b"To") == [b"nurse@hospital.test,\n zuster@hospital.test"]
    read = opened(alone, actions, fields)
    assert read["To"].addresses[0].display_name == "Jan Jansen"
    assert read["From"].addresses[0].display_name == "Dokter de Wit"


def test_the_agreed_header_goes_with_what_is_secured(alone):
    fields = fields_to("nurse@hospital.test", "Overleg", (b"X-Agreed", b" forged"))
    actions = send(alone, "nurse@hospital.test", fields, SECRET)
    assert value(actions, fields, b"X-Agreed") == [b"NTA 7516"]


@pytest.mark.parametrize(
    ("recipient", "code", "word"),
    [
        ("small@hospital.test", "550 5.7.1", "takes"),
        ("portal@hospital.test", "550 5.7.1", "portal"),
        ("readable@hospital.test", "451 4.7.0", "store"),
        ("x@refused.test", "550 5.7.1", "never"),
    ],
)
def test_a_rule_never_means_clear(alone, recipient, code, word):
    actions = send(alone, recipient, fields_to(recipient), SECRET + b"x" * 20_000)
    assert actions.reply.startswith(code)
    assert word in actions.reply
    assert actions.untouched


@pytest.mark.parametrize("subject", ["[veilig] Overleg", "Overleg [SECURE]", "Re: [veilig] Overleg"])
def test_a_tag_marks_and_is_removed(alone, subject):
    fields = fields_to("nurse@hospital.test", subject)
    actions = send(alone, "nurse@hospital.test", fields, b"Tot morgen.\r\n")
    read = opened(alone, actions, fields)["Subject"]
    assert read.removeprefix("Re: ") == "Overleg"


def test_a_secure_thread_stays_secure(alone):
    fields = fields_to("nurse@hospital.test")
    actions = send(alone, "nurse@hospital.test", fields, SECRET)
    (references,) = value(actions, fields, b"References")
    assert opened(alone, actions, fields)["References"] == references.decode()
    reply = fields_to("jan@citizen.test", "Re: Overleg", (b"References", b" " + references))
    answer = send(alone, "jan@citizen.test", reply, b"Dank je wel.\r\n")
    assert answer.reply.startswith("550 5.7.1")


def test_attachments_over_the_limit_need_the_portal(alone):
    attachment = base64.encodebytes(bytes(15_100_000)).replace(b"\n", b"\r\n")
    part = (
        b"\r\n--b\r\nContent-Type: application/octet-stream; name=scan.dcm\r\n"
        b"Content-Disposition: attachment; filename=scan.dcm\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n" + attachment
    )
    fields = fields_to("nurse@hospital.test", "Scan", (b"Content-Type", b" multipart/mixed; boundary=b"))
    once = send(alone, "nurse@hospital.test", fields, part + b"\r\n--b--\r\n")
    assert once.body is not None
    twice = send(alone, "nurse@hospital.test", fields, part + part + b"\r\n--b--\r\n")
    assert twice.reply.startswith("550 5.7.1")
    assert "30200000" in twice.reply


def test_an_attachment_that_cannot_be_read_counts_as_sensitive_outside_only(alone):
    body = (
        b"--b\r\nContent-Type: application/octet-stream\r\n"
        b"Content-Disposition: attachment; filename=x.bin\r\n\r\n\x01\x02\r\n--b--\r\n"
    )
    kind = (b"Content-Type", b" multipart/mixed; boundary=b")
    outside = send(alone, "nurse@hospital.test", fields_to("nurse@hospital.test", "x", kind), body)
    assert outside.body is not None
    inside = send(alone, "colleague@care.test", fields_to("colleague@care.test", "x", kind), body)
    assert inside.untouched


def test_ciphertext_of_the_sender_passes_as_it_is(alone):
    nurse = alone.certificates.person("nurse@hospital.test", "Verpleegkundige Bos")
    sealed = openssl("cms", "-encrypt", "-aes256", "-outform", "DER", nurse.certificate, stdin=SECRET)
    body = base64.encodebytes(sealed).replace(b"\n", b"\r\n")
    cms = (
        (b"Content-Type", b" application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m"),
        (b"Content-Transfer-Encoding", b" base64"),
        (b"Sensitivity", b" private"),
    )
    actions = send(alone, "jan@citizen.test", fields_to("jan@citizen.test", "Overleg", *cms), body)
    assert actions.verdict == "a"
    assert actions.body is None
    telling = send(alone, "jan@citizen.test", fields_to("jan@citizen.test", "BSN 123456782", *cms), body)
    assert telling.reply.startswith("550 5.7.1")


def test_a_signature_of_a_delegate_without_a_key_is_nobodys(alone):
    fields = fields_to("nurse@hospital.test", sender="colleague@care.test")
    actions = send(alone, "nurse@hospital.test", fields, SECRET, sender="colleague@care.test")
    gateway = alone.certificates.gateway("hospital.test")
    mail = b"".join(b"%b:%b\r\n" % pair for pair in actions.headers(fields)) + b"\r\n" + actions.body
    inner = openssl(*("cms", "-decrypt", "-recip", gateway.certificate, "-inkey", gateway.key), stdin=mail)
    assert b"multipart/signed" not in inner
    assert SECRET.rstrip() in inner
