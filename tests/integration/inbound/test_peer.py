"""Who hands mail in? Real zones by a real unbound, really signed mail, the real milter process."""

import subprocess
import time

import pytest

from tests.integration.inbound.senders import ADDRESS, BODY, FIELDS, OTHER, TLS, results, sign, text, zones
from tests.laboratory.alone import Alone
from tests.laboratory.certificates import Certificates, openssl
from tests.laboratory.mta import Mta

HOSTS = {"helo": "mx.sender.test", "tls": TLS}
NTA_HEADER = {"name": "X-NTA7516", "value": "2019"}


def running(directory, port, **changes):
    return Alone(directory, port, zones(Certificates(directory / "certificates")), **changes)


@pytest.fixture(scope="module")
def marking(tmp_path_factory):
    with running(tmp_path_factory.mktemp("marking"), 15351) as alone:
        yield alone


@pytest.fixture(scope="module")
def enforcing(tmp_path_factory):
    checks = ("tls", "spf", "dkim", "dmarc", "record", "header")
    peer = {**dict.fromkeys(checks, "enforce"), "inbound": "mark"}
    directory = tmp_path_factory.mktemp("enforcing")
    with running(directory, 15352, peer=peer, nta_header=NTA_HEADER) as alone:
        yield alone


def send(alone, fields, body=BODY, *, sender="nurse@sender.test", side="ntamx", address=ADDRESS, **client):
    with alone.mta(side=side, address=address, **{**HOSTS, **client}) as mta:
        return mta.send(sender, ["doctor@care.test"], fields, body, queue_id=f"P{time.monotonic_ns():X}")


def from_(address):
    return [(b"From", f" {address}".encode()), *FIELDS[1:]]


# What is marked.


@pytest.mark.parametrize("selector", ["good", "edwards"])
@pytest.mark.parametrize("form", [(a, b) for a in (b"relaxed", b"simple") for b in (b"relaxed", b"simple")])
def test_a_good_sender_passes_every_check(marking, selector, form):
    fields = sign(marking.certificates, selector=selector, canonicalize=form)
    actions = send(marking, fields)
    assert actions.verdict == "a"
    assert actions.body is None
    assert results(actions, fields) == {
        "x-tls": ["pass"],
        "spf": ["pass"],
        "dkim": ["pass"],
        "dmarc": ["pass"],
    }
    line = text(actions, fields)
    assert "smtp.mailfrom=sender.test" in line
    assert f"header.d=sender.test header.s={selector}" in line
    assert "header.from=sender.test" in line
    assert "smtp.version=TLSv1.3 smtp.cipher=TLS_AES_256_GCM_SHA384" in line
    assert '"event": "peer-judged"' in marking.audit


def test_what_opendkim_signs_is_verified(marking):
    socket = marking.directory / "opendkim.sock"
    settings = marking.directory / "opendkim.conf"
    key = marking.certificates.plain_key("sender")
    settings.write_text(
        f"Socket local:{socket}\nDomain sender.test\nSelector good\nKeyFile {key}\nRequireSafeKeys no\n"
        "Canonicalization relaxed/relaxed\nSyslog no\n"
    )
    command = ["setpriv", "--pdeathsig", "KILL", "opendkim", "-f", "-x", str(settings)]
    signer = subprocess.Popen(command, env={"PATH": "/usr/sbin:/usr/bin:/bin"})
    try:
        while not socket.exists():
            assert signer.poll() is None
            time.sleep(0.02)
        with Mta(socket, side="") as mta:
            signed = mta.send("nurse@sender.test", ["doctor@care.test"], FIELDS, BODY)
    finally:
        signer.terminate()
        signer.wait(10)
    (signature,) = signed.added
    assert signature[0] == b"DKIM-Signature"
    # without leading blanks opendkim's value stands right behind the colon
    fields = [(signature[0], b" " + signature[1].lstrip()), *FIELDS]
    assert results(send(marking, fields), fields)["dkim"] == ["pass"]


def test_a_forwarded_mail_fails_spf_and_passes_dmarc_by_its_signature(marking):
    fields = sign(marking.certificates)
    found = results(send(marking, fields, sender="list@forwarder.test", address=OTHER), fields)
    assert found == {"x-tls": ["pass"], "spf": ["pass"], "dkim": ["pass"], "dmarc": ["pass"]}
    found = results(send(marking, fields, address=OTHER), fields)
    assert found == {"x-tls": ["pass"], "spf": ["fail"], "dkim": ["pass"], "dmarc": ["pass"]}


def test_a_spoofed_from_fails_dmarc_whatever_spf_and_dkim_prove_of_others(marking):
    fields = sign(marking.certificates, domain="forwarder.test")
    found = results(send(marking, fields, sender="jan@forwarder.test", address=OTHER), fields)
    assert found == {"x-tls": ["pass"], "spf": ["pass"], "dkim": ["pass"], "dmarc": ["fail"]}


def test_a_sub_domain_stands_for_its_organisation_unless_the_policy_is_strict(marking):
    for domain, value in (("dept.sender.test", "pass"), ("strict.test", "fail")):
        fields = from_(f"nurse@{domain}")
        sender = "nurse@sender.test" if domain != "strict.test" else "nurse@sub.strict.test"
        assert results(send(marking, fields, sender=sender), fields)["dmarc"] == [value]


@pytest.mark.parametrize("change", ["body", "subject", "from", "second from"])
def test_what_is_changed_after_signing_is_seen(marking, change):
    fields, body = sign(marking.certificates), BODY
    match change:
        case "body":
            body = BODY.replace(b"gewone", b"andere")
        case "subject":
            fields = [(n, b" Anders" if n == b"Subject" else v) for n, v in fields]
        case "from":
            fields = [(n, b" director@sender.test" if n == b"From" else v) for n, v in fields]
        case _:
            fields = [*fields, (b"From", b" director@sender.test")]
    found = results(send(marking, fields, body, address=OTHER), fields)
    assert found["dkim"] == ["fail"]
    assert found["dmarc"] == ["permerror" if change == "second from" else "fail"]


@pytest.mark.parametrize(
    ("selector", "value", "word"),
    [
        ("revoked", "permerror", "revoked"),
        ("broken", "permerror", "key"),
        ("large", "permerror", "longer"),
        ("twice", "permerror", "several keys"),
        ("absent", "permerror", "no key"),
        ("testing", "neutral", "tests"),
    ],
)
def test_a_key_that_cannot_be_used_proves_nothing(marking, selector, value, word):
    fields = sign(marking.certificates, selector=selector)
    actions = send(marking, fields, address=OTHER)
    assert results(actions, fields)["dkim"] == [value]
    assert word in text(actions, fields)
    assert results(actions, fields)["dmarc"] == ["fail"]


def test_a_signature_of_a_part_of_the_body_or_without_from_proves_nothing(marking):
    fields = sign(marking.certificates, length=True)
    assert results(send(marking, fields), fields)["dkim"] == ["pass"]
    assert results(send(marking, fields, BODY + b"meer\r\n"), fields)["dkim"] == ["policy"]
    unsigned = [(n, v.replace(b"from : ", b"").replace(b"from", b"date")) for n, v in fields]
    assert results(send(marking, unsigned), unsigned)["dkim"][0] in ("permerror", "fail")


def test_many_signatures_are_bounded_and_the_senders_own_come_first(marking):
    own = sign(marking.certificates)[0]
    foreign = (b"DKIM-Signature", own[1].replace(b"d=sender.test", b"d=bare.test"))
    fields = [*[foreign] * 300, own, *FIELDS]
    found = results(send(marking, fields), fields)
    assert len(found["dkim"]) == 8
    assert found["dkim"][0] == "pass"
    assert set(found["dkim"][1:]) == {"permerror"}


HOSTILE = [
    b"",
    b" v=1",
    b" =;=;=",
    b" v=1; a=rsa-sha256; d=; s=; h=; bh=; b=",
    b" v=1; a=rsa-sha256; d=sender.test; s=good; h=from; bh=AAAA; b=AAA",
    b" v=1; a=none; d=sender.test; s=good; h=from; bh=AAAA; b=AAAA",
    b" v=1; a=rsa-sha1; d=sender.test; s=good; h=from; bh=AAAA; b=AAAA",
    b" v=1; a=rsa-sha256; d=sender.test; s=../../etc; h=from; bh=AAAA; b=AAAA",
    b" v=1; a=rsa-sha256; d=sender.test; s=good; x=" + b"9" * 5000 + b"; h=from; bh=AAAA; b=AAAA",
    b" v=1; a=rsa-sha256; d=sender.test; s=good; l=; h=from; bh=AAAA; b=AAAA",
    b" v=1; a=rsa-sha256; c=evil/evil; d=sender.test; s=good; h=from; bh=AAAA; b=AAAA",
    b" v=1; a=rsa-sha256; d=sender.test; s=good; h=" + b"from:a:b:" * 800 + b"; bh=AAAA; b=AAAA",
    b" v=1; a=rsa-sha256; d=sender.test; s=good; h=from; bh=AAAA; b" + b"\r\n " * 9000 + b"!",
    b" v=1; a=rsa-sha256; d=sender.test; s=good; h=from; bh=AAAA; b=AAAA" + b"\r\n " * 9000 + b"!",
    b" v=1; a=rsa-sha256; d=\xff\xfe; s=\xff; h=from; bh=AAAA; b=AAAA",
    b" v=1; v=1; a=rsa-sha256; d=sender.test; s=good; h=from; bh=AAAA; b=AAAA",
    b" v=1; a=ed25519-sha256; d=sender.test; s=good; h=from; bh=AAAA; b=AAAA",
    b" v=1; a=rsa-sha256; d=sender.test)(; s=good; h=from; bh=AAAA; b=AAAA",
]


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_signature_is_no_good_and_harms_nobody(marking, value):
    fields = [(b"DKIM-Signature", value), *FIELDS]
    actions = send(marking, fields)
    assert actions.verdict == "a"
    assert results(actions, fields)["dkim"][0] in ("permerror", "policy", "fail")
    assert results(actions, fields)["dmarc"] == ["pass"]
    assert "Traceback" not in marking.log


@pytest.mark.parametrize(
    ("sender", "value"),
    [
        ("nurse@bare.test", "none"),
        ("nurse@absent.test", "none"),
        ("nurse@twice.test", "permerror"),
        ("nurse@wild.test", "permerror"),
        ("nurse@loop.test", "permerror"),
        ("nurse@chain.test", "permerror"),
        ("nurse@void.test", "permerror"),
        ("nurse@dead.test", "temperror"),
        ("nurse@broken.test", "temperror"),
        ("nurse@[192.0.2.1]", "none"),
        ("nurse", "none"),
        ('"a b"@sender.test', "pass"),
        ("zuster.renée@sender.test", "pass"),
        ("", "pass"),
    ],
)
def test_spf_answers_every_sender(marking, sender, value):
    assert results(send(marking, FIELDS, sender=sender), FIELDS)["spf"] == [value]


def test_spf_over_ipv6(marking):
    assert results(send(marking, FIELDS, address="2001:db8::1"), FIELDS)["spf"] == ["pass"]
    assert results(send(marking, FIELDS, address="2001:db9::1"), FIELDS)["spf"] == ["fail"]


@pytest.mark.parametrize("helo", [b"\xff\xfe", b"", b"[192.0.2.1]", b"x" * 2000, b"a..b", b"%{l}"])
def test_a_strange_name_in_helo_harms_nobody(marking, helo):
    actions = send(marking, FIELDS, sender="", helo=helo)
    assert actions.verdict == "a"
    assert results(actions, FIELDS)["spf"] == ["none"]
    assert "Traceback" not in marking.log


@pytest.mark.parametrize(
    ("tls", "value"),
    [
        (("", ""), "fail"),
        (("TLSv1", "ECDHE-RSA-AES256-SHA"), "fail"),
        (("TLSv1.1", "ECDHE-RSA-AES256-SHA"), "fail"),
        (("TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384"), "pass"),
        (("TLSv1.2", "ADH-AES256-GCM-SHA384"), "fail"),
        (("TLSv1.2", "ECDHE-RSA-NULL-SHA"), "fail"),
        (("TLSv1.2", "DES-CBC3-SHA"), "fail"),
        (("TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256"), "pass"),
    ],
)
def test_tls_is_judged_by_version_and_cipher(marking, tls, value):
    assert results(send(marking, FIELDS, tls=tls), FIELDS)["x-tls"] == [value]


@pytest.mark.parametrize(
    "address",
    ["a@sender.test, b@forwarder.test", "(nobody)", "undisclosed:;", "nurse@", "nurse@sender..test"],
)
def test_dmarc_needs_one_domain_in_from(marking, address):
    fields = from_(address)
    assert results(send(marking, fields), fields)["dmarc"] == ["permerror"]


def test_a_failure_of_dns_is_temperror_never_fail(marking):
    fields = sign(marking.certificates, from_("nurse@dead.test"), domain="dead.test")
    found = results(send(marking, fields, sender="nurse@dead.test"), fields)
    assert found == {"x-tls": ["pass"], "spf": ["temperror"], "dkim": ["temperror"], "dmarc": ["temperror"]}


def test_the_result_stands_in_one_field_with_that_of_smime_and_a_forged_one_dies(marking):
    nurse = marking.certificates.person("nurse@sender.test", "Verpleegkundige Bos")
    signed = openssl(
        *("cms", "-sign", "-signer", nurse.certificate, "-inkey", nurse.key),
        stdin=b"Content-Type: text/plain\r\n\r\nhoi\r\n",
    )
    head, _, body = signed.replace(b"\r\n", b"\n").partition(b"\n\n")
    kind = [tuple(line.split(b":", 1)) for line in head.replace(b"\n\t", b" ").split(b"\n") if line]
    forged = (b"Authentication-Results", b" nta.mx.care.test; dmarc=pass header.from=sender.test")
    fields = [forged, *FIELDS[:4], *kind]
    actions = send(marking, fields, body.replace(b"\n", b"\r\n"), address=OTHER)
    found = results(actions, fields)
    assert found["smime"] == ["pass"]
    assert found["dmarc"] == ["fail"]
    assert text(actions, fields).startswith("nta.mx.care.test; smime=pass ")


def test_invariant_6_the_ordinary_listener_marks_nothing_by_default(marking):
    assert send(marking, FIELDS, side="inbound", address=OTHER).untouched


# What is refused.


def complete(alone, fields=FIELDS, **changes):
    return sign(alone.certificates, [*fields, (b"X-NTA7516", b" 2019")], **changes)


def test_a_compliant_sender_is_let_in_and_the_agreed_header_goes(enforcing):
    fields = complete(enforcing)
    actions = send(enforcing, fields)
    assert actions.verdict == "a", actions.reply
    assert results(actions, fields) == {
        **{"x-tls": ["pass"], "spf": ["pass"], "dkim": ["pass"], "dmarc": ["pass"]},
        **{"x-nta-record": ["pass"], "x-nta-header": ["pass"]},
    }
    assert b"X-NTA7516" not in [name for name, _ in actions.headers(fields)]


@pytest.mark.parametrize(
    ("reply", "words", "client"),
    [
        ("550 5.7.10 ", ("TLS 1.2", "no TLS"), {"tls": ("", "")}),
        ("550 5.7.23 ", ("SPF", "sender.test", OTHER), {"address": OTHER}),
        ("550 5.7.24 ", ("SPF", "twice.test"), {"sender": "nurse@twice.test"}),
        ("451 4.7.24 ", ("SPF", "dead.test"), {"sender": "nurse@dead.test"}),
    ],
)
def test_a_refusal_says_which_check_which_domain_and_what_is_expected(enforcing, reply, words, client):
    actions = send(enforcing, complete(enforcing), **client)
    assert actions.reply.startswith(reply), actions.reply
    assert all(word in actions.reply for word in words), actions.reply
    assert actions.untouched


@pytest.mark.parametrize(
    ("fields", "reply", "words"),
    [
        ("unsigned", "550 5.7.20 ", ("DKIM", "not signed")),
        ("broken", "550 5.7.20 ", ("DKIM", "sender.test", "body was changed")),
        ("spoofed", "550 5.7.1 ", ("DMARC", "strict.test", "sender.test")),
        ("two authors", "550 5.7.1 ", ("DMARC", "From")),
        ("no policy", "550 5.7.1 ", ("bare.test", "DMARC policy")),
        ("not compliant", "550 5.7.1 ", ("NTA 7516", "refused.test")),
        ("no header", "550 5.7.1 ", ("X-NTA7516", "not there")),
        ("other header", "550 5.7.1 ", ("X-NTA7516", "another value")),
        ("key unknown", "451 4.7.0 ", ("DKIM", "dead.test")),
    ],
)
def test_each_check_refuses_in_its_own_words(enforcing, fields, reply, words):
    body, sender = BODY, "nurse@sender.test"
    match fields:
        case "unsigned":
            made = [*FIELDS, (b"X-NTA7516", b" 2019")]
        case "broken":
            made, body = complete(enforcing), b"anders\r\n"
        case "spoofed":
            made = complete(enforcing, from_("nurse@strict.test"))
        case "two authors":
            made = complete(enforcing, from_("a@sender.test, b@forwarder.test"))
        case "no policy":
            made = complete(enforcing, from_("nurse@bare.test"))
        case "not compliant":
            made, sender = complete(enforcing, from_("nurse@refused.test")), "nurse@refused.test"
        case "no header":
            made = sign(enforcing.certificates)
        case "other header":
            made = sign(enforcing.certificates, [*FIELDS, (b"X-NTA7516", b" 2018")])
        case _:
            made = complete(enforcing, domain="dead.test")
    actions = send(enforcing, made, body, sender=sender)
    assert actions.reply.startswith(reply), actions.reply
    assert all(word in actions.reply for word in words), actions.reply
    assert actions.untouched


def test_a_refusal_is_audited_and_logged(enforcing):
    send(enforcing, FIELDS, tls=("", ""))
    line = enforcing.audit.splitlines()[-1]
    assert '"event": "refused"' in line
    assert "x-tls=fail" in line
    assert "event=peer-refused" in enforcing.log


def test_on_the_ordinary_listener_the_same_checks_only_mark(enforcing):
    actions = send(enforcing, FIELDS, side="inbound", address=OTHER, tls=("", ""), sender="nurse@dead.test")
    assert actions.verdict == "a"
    found = results(actions, FIELDS)
    assert (found["x-tls"], found["spf"], found["x-nta-header"]) == (["fail"], ["temperror"], ["fail"])


def test_outgoing_mail_is_not_judged(enforcing):
    actions = send(
        enforcing,
        [(b"From", b" doctor@care.test"), *FIELDS[1:]],
        sender="doctor@care.test",
        side="outbound",
        address="127.0.0.1",
        login="doctor@care.test",
    )
    assert actions.untouched
    assert actions.verdict == "a"


def test_without_the_libraries_only_what_can_be_judged_is_marked(tmp_path, monkeypatch):
    absent = tmp_path / "absent"
    absent.mkdir()
    for module in ("spf", "dkim", "publicsuffix2"):
        (absent / f"{module}.py").write_text("raise ImportError('not installed')\n")
    monkeypatch.setenv("PYTHONPATH", str(absent))
    with running(tmp_path / "bare", 15353) as alone:
        assert results(send(alone, FIELDS), FIELDS) == {"x-tls": ["pass"]}
        assert alone.log.count("event=check-idle") == 3
        assert "missing=" in alone.log
        assert "python3-spf" in alone.log


def test_shadow_mode_refuses_nothing_and_logs_what_would_be(tmp_path):
    with running(tmp_path, 15354, mode="shadow", peer={"tls": "enforce"}) as alone:
        actions = send(alone, FIELDS, tls=("", ""))
        assert actions.verdict == "a"
        assert actions.untouched
        assert "event=peer-refused" in alone.log
