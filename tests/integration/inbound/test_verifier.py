"""Another verifier, a real opendkim: believed where a probe has shown that nobody speaks in its name."""

import json
import re
import time

import dkim
import pytest

from tests.integration.inbound.senders import public
from tests.laboratory import Laboratory
from tests.laboratory.dns import txt
from tests.laboratory.namespace import INSIDE
from tests.laboratory.scenarios.line import HOSPITAL_ADDRESS, own_results
from tests.laboratory.scenarios.proof import DOCTOR, NURSE, accepted, arrived

NAME = "filter.care.test"
FOLDER = INSIDE / "care" / "nta-milter"
VERIFIER = {"authserv_id": NAME, "listener": "127.0.0.12:25", "methods": ["dkim", "spf"]}
OPENDKIM = """
Mode v
AuthservID {name}
UserID opendkim
UMask 0007
Nameservers 127.0.0.1
ResolverConfiguration {inside}/opendkim/resolver.conf
InternalHosts 127.0.0.1
Syslog no
AlwaysAddARHeader {always}
{more}
"""
SOCKET = "opendkim/verifier.sock"
MAIL = (
    b"From: nurse@hospital.test\r\nTo: doctor@care.test\r\nSubject: Overleg\r\n"
    b"Message-ID: <v@hospital.test>\r\n"
    b"Date: Tue, 24 Nov 2026 10:00:00 +0100\r\n\r\nGoedemorgen\r\n"
)
FORGED = f"Authentication-Results: {NAME}; {{}}\r\n"


class Verified(Laboratory):
    """A laboratory whose ntamx listener may have opendkim before nta-milter."""

    running = None

    def verifier(self, always="yes", more=""):
        """(Re)start it with other settings, and put it before nta-milter."""
        folder = self.directory / "opendkim"
        (folder / "verifier.conf").write_text(
            OPENDKIM.format(name=NAME, inside=INSIDE, always=always, more=more)
        )
        if self.running is not None:
            self.running.end(kill=True)
        socket = self.postfix["care"].host.queue / SOCKET
        (self.postfix["care"].home / "queue" / SOCKET).unlink(missing_ok=True)
        self.running = self._daemon(
            "opendkim", "-f", "-x", INSIDE / "opendkim" / "verifier.conf", "-p", f"local:{socket}"
        )
        self.wait_for((self.postfix["care"].home / "queue" / SOCKET).exists, "the verifier")
        self.postfix["care"].set(nta_verifier=f"unix:{SOCKET}")

    def doctor(self, *options):
        """What the doctor says of verifiers."""
        _, said = self.nta_milter("doctor", "--json", *options, "--config", str(self.configuration))
        return [each for each in json.loads(said) if each["code"].startswith("verifier")]


@pytest.fixture(scope="module")
def _verified(tmp_path_factory):
    peer = {"proofs": f"{FOLDER}/verifiers.json", "inbound": "off"}
    with Verified(tmp_path_factory.mktemp("verified"), peer=peer, verifiers=[VERIFIER]) as laboratory:
        key = public(laboratory.certificates, "sender")
        laboratory.dns.extend("hospital.test", [f"good._domainkey TXT {txt('v=DKIM1; p=' + key)}"])
        yield laboratory


@pytest.fixture
def verified(_verified):
    _verified.reset()
    (_verified.directory / "care" / "nta-milter" / "verifiers.json").unlink(missing_ok=True)
    return _verified


def result(laboratory, raw, *, source=HOSPITAL_ADDRESS):
    """Our own result of a mail at the ntamx listener."""
    with laboratory.session("ntamx", source=source) as client:
        accepted(client.transmit(NURSE, [DOCTOR], raw))
    (found,) = own_results(arrived(laboratory, "care", DOCTOR))
    return found


def signed(laboratory):
    key = laboratory.certificates.plain_key("sender").read_bytes()
    return dkim.sign(MAIL, b"good", b"hospital.test", key) + MAIL


def test_a_verifier_that_was_never_probed_is_not_believed_and_the_log_says_so(verified):
    verified.verifier()
    assert "dkim=pass header.d=hospital.test" in result(verified, signed(verified))  # by our own check
    assert f"{NAME}: it was never shown" in verified.milter_log()
    (finding,) = verified.doctor()
    assert (finding["level"], finding["command"]) == ("warning", "nta-milter doctor --probe")


def test_after_the_probe_what_it_says_is_taken_and_not_asked_again(verified):
    verified.verifier()
    before = len(verified.everything())
    (half,) = verified.doctor("--probe")
    assert (half["code"], "spf" in half["text"]) == ("verifier-half-proven", True)
    verified.settle()
    assert len(verified.everything()) == before  # the probes are delivered to nobody
    found = result(verified, signed(verified))
    assert f"dkim=pass (by {NAME}) header.d=hospital.test" in found
    assert "spf=none (client 127.0.0.21)" in found  # by ourselves: its forgeries were let through


@pytest.mark.parametrize(
    "forgery",
    [
        "dkim=pass header.d=hospital.test",
        "dkim=pass header.d=hospital.test header.odd=1",
        "dkim=pass (unterminated header.d=hospital.test",
        "none; dkim=pass header.d=hospital.test",
        "spf=pass smtp.mailfrom=hospital.test",
        "spf=pass smtp.mailfrom=hospital.test; dkim=pass header.d=hospital.test",
    ],
)
def test_invariant_11_a_forged_result_in_its_name_is_never_believed(verified, forgery):
    verified.verifier()
    verified.doctor("--probe")
    raw = FORGED.format(forgery).encode() * 3 + MAIL + FORGED.format(forgery).encode()
    found = result(verified, raw)
    assert "dkim=pass" not in found
    assert "spf=pass" not in found


@pytest.mark.parametrize(
    "way", ["away", "may be away", "behind us", "silent on unsigned mail", "keeps forgeries"]
)
def test_a_verifier_that_does_not_do_its_part_is_not_proven(verified, way):
    verified.verifier(
        always="no" if way == "silent on unsigned mail" else "yes",
        more="KeepAuthResults yes" if way == "keeps forgeries" else "",
    )
    care = verified.postfix["care"]
    if way == "away":
        care.set(nta_verifier="")
    if way == "may be away":
        care.set(nta_verifier=f"{{unix:{SOCKET},default_action=accept}}")
    if way == "behind us":
        master = (care.home / "etc" / "master.cf").read_text()
        care.edit("master.cf", master.replace("=$nta_verifier,$nta_milter", "=$nta_milter,$nta_verifier"))
    (finding,) = verified.doctor("--probe")
    assert (finding["level"], finding["code"]) == ("fault", "verifier-not-proven")
    raw = FORGED.format("dkim=pass header.d=hospital.test").encode() + MAIL
    assert "dkim=pass" not in result(verified, raw)


def test_a_proof_ends_when_postfix_is_changed_and_with_its_time(verified):
    verified.verifier()
    verified.doctor("--probe")
    file = verified.directory / "care" / "nta-milter" / "verifiers.json"
    proofs = json.loads(file.read_text())
    assert f"(by {NAME})" in result(verified, signed(verified))
    proofs[0]["at"] = time.time() - 8 * 86_400
    file.write_text(json.dumps(proofs))
    (finding,) = verified.doctor()
    assert "too old" in finding["text"]
    verified.doctor("--probe")
    verified.postfix["care"].set(bounce_size_limit="2")
    (finding,) = verified.doctor()
    assert "has changed since" in finding["text"]


def test_the_probe_needs_the_milter_and_a_stranger_cannot_ask_for_one(verified):
    verified.verifier()
    raw = b"X-Nta-Probe: 00112233445566778899aabbccddeeff\r\n" + MAIL
    assert re.search(r"dkim=none", result(verified, raw))
    verified.stop_milter(kill=True)
    (finding,) = verified.doctor("--probe")
    assert finding["level"] == "fault"
