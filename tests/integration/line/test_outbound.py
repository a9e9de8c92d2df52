"""The real milter on real DNSSEC and real keys, driven as an MTA drives it: what leaves?

Among it every bad input that issue and experience name: each has a defined answer and a log line.
"""

import base64
import re

import pytest

from tests.integration.line.driving import BSN, PLAIN, TEXT, content, decrypted, is_smime, send
from tests.laboratory.certificates import openssl


def test_sensitive_mail_becomes_smime_that_openssl_opens(alone):
    actions = send(alone, ["nurse@hospital.test"], TEXT, BSN)
    assert is_smime(actions), (actions, alone.log)
    after, inner = decrypted(alone, actions, TEXT)
    message = content(alone, inner)
    assert message.get_payload(decode=True) == BSN
    assert message["Subject"] == "Overleg"
    names = {name.lower() for name, _ in after}
    assert names <= {
        *(b"from", b"to", b"subject", b"mime-version", b"x-nta-route"),
        *(b"content-type", b"content-transfer-encoding", b"content-disposition"),
    }
    assert all(b"Overleg" not in value for _, value in after)
    assert actions.sender == b"<doctor@care.test> RET=HDRS"


def test_invariant_6_untouched_means_untouched(alone):
    fields = [*TEXT, (b"Received", b" from a\n\tby b"), (b"X-Odd", b"\t tab and  spaces "), (b"X-Empty", b"")]
    actions = send(alone, ["jan@citizen.test"], fields, b"Tot morgen!\r\n")
    assert actions.verdict == "a"
    assert actions.untouched


def test_invariant_6_only_reserved_fields_are_removed(alone):
    fields = [*TEXT, (b"X-Nta-Route", b" [evil.test]"), (b"X-Keep", b" 1"), (b"x-nta-guard", b" on")]
    actions = send(alone, ["jan@citizen.test"], fields, b"Tot morgen!\r\n")
    assert actions.headers(fields) == [*TEXT, (b"X-Keep", b" 1")]
    assert actions.body is None
    assert actions.sender is None


def test_invariant_1_sensitive_mail_to_an_ordinary_domain_is_refused_without_a_portal(alone):
    actions = send(alone, ["jan@citizen.test"], TEXT, BSN)
    assert actions.reply.startswith("550 5.7.1 ")
    assert "secure download is not set up here" in actions.reply
    assert actions.untouched


def test_invariant_7_a_bogus_domain_waits_with_the_reason(alone):
    actions = send(alone, ["someone@broken.test"], TEXT, BSN)
    assert actions.reply.startswith("451 4.7.0 ")
    assert re.search("bogus|DNSSEC|SERVFAIL", actions.reply), actions.reply


def test_mixed_recipients_wait_as_a_whole(alone):
    actions = send(alone, ["nurse@hospital.test", "colleague@care.test"], TEXT, BSN)
    assert actions.reply.startswith("451 4.7.0 ")
    assert actions.untouched


def test_sensitive_mail_inside_is_pinned(alone):
    actions = send(alone, ["colleague@care.test"], TEXT, BSN)
    assert actions.added == [(b"X-Nta-Route", b" inside")]
    assert actions.body is None
    assert actions.sender == b"<doctor@care.test> RET=HDRS"


@pytest.mark.parametrize(
    ("client", "sender_field"),
    [
        ({"login": "colleague@care.test"}, b" doctor@care.test"),
        ({"login": "", "address": "192.0.2.9"}, b" doctor@care.test"),
        ({}, b" jan@citizen.test"),
        ({}, b" doctor@care.test, colleague@care.test"),
    ],
)
def test_invariant_5_no_oracle_for_clients_that_are_not_proven(alone, client, sender_field):
    fields = [(b"From", sender_field), *TEXT[1:]]
    actions = send(alone, ["nurse@hospital.test"], fields, BSN, **client)
    assert actions.reply.startswith("550 5.7.1 ")
    assert actions.untouched


def test_an_unmarked_listener_stops_the_mail_and_says_so(alone):
    actions = send(alone, ["jan@citizen.test"], TEXT, b"hoi", side="")
    assert actions.reply.startswith("451 4.3.5 ")
    assert "event=listener-unmarked" in alone.log


# Bad input, outbound.


def test_a_missing_content_type_is_text_plain(alone):
    actions = send(alone, ["nurse@hospital.test"], PLAIN, BSN)
    assert is_smime(actions)


def test_an_empty_message_passes(alone):
    actions = send(alone, ["jan@citizen.test"], [], b"")
    assert actions.verdict == "a"
    assert actions.untouched


def test_raw_8_bit_and_nul_are_carried_on(alone):
    fields = [(b"From", b" doctor@care.test"), (b"Subject", b" caf\xe9"), (b"X-Raw", b" \xff\xfe")]
    actions = send(alone, ["jan@citizen.test"], fields, b"nul \0 here\xff\r\n")
    assert actions.verdict == "a"
    assert actions.untouched


def test_raw_8_bit_and_nul_survive_the_encryption(alone):
    fields = [*PLAIN[:2], (b"Subject", b" caf\xe9 overleg"), (b"Content-Type", b" text/plain")]
    actions = send(alone, ["nurse@hospital.test"], fields, BSN + b"\0\xff")
    _, inner = decrypted(alone, actions, fields)
    assert content(alone, inner).get_payload(decode=True) == BSN + b"\0\xff"


def test_duplicate_subjects_pass_when_not_sensitive(alone):
    fields = [*TEXT, (b"Subject", b" again"), (b"From", b" colleague@care.test")]
    actions = send(alone, ["jan@citizen.test"], fields, b"hoi\r\n")
    assert actions.untouched
    assert actions.verdict == "a"


def test_duplicate_from_is_refused_when_sensitive(alone):
    fields = [*TEXT, (b"From", b" colleague@care.test")]
    actions = send(alone, ["nurse@hospital.test"], fields, BSN)
    assert actions.reply.startswith("550 5.7.1 ")


def test_duplicate_subjects_are_one_outside(alone):
    fields = [*TEXT, (b"Subject", b" BSN 123456782")]
    actions = send(alone, ["nurse@hospital.test"], fields, b"hoi\r\n")
    after = actions.headers(fields)
    subjects = [value for name, value in after if name.lower() == b"subject"]
    assert subjects == [b" [...]"]


def test_a_60_kb_header_passes(alone):
    fields = [*TEXT, (b"X-Long", b" " + b"x" * 60_000)]
    actions = send(alone, ["jan@citizen.test"], fields, b"hoi\r\n")
    assert actions.untouched
    assert actions.verdict == "a"


def test_too_many_header_bytes_are_refused(alone):
    fields = [*TEXT, *[(b"X-Long", b" " + b"x" * 60_000)] * 18]
    actions = send(alone, ["jan@citizen.test"], fields, b"hoi\r\n")
    assert actions.reply.startswith("554 5.6.0 ")
    alone.wait_for("event=refused")


def test_3000_nested_multiparts_are_refused(alone):
    fields = [*PLAIN, (b"Content-Type", b" multipart/mixed; boundary=b0")]
    body = b"".join(
        b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (i, i + 1) for i in range(3000)
    )
    actions = send(alone, ["jan@citizen.test"], fields, body)
    assert actions.reply.startswith("554 5.6.0 ")
    assert "nested" in actions.reply or "deep" in actions.reply


def test_100_recipients_of_one_gateway_share_one_ciphertext(alone):
    nurses = [f"nurse{i}@hospital.test" for i in range(100)]
    fields = [TEXT[0], (b"To", b" " + ", ".join(nurses).encode()), *TEXT[2:]]
    assert is_smime(send(alone, nurses, fields, BSN))


def test_invariant_3_a_hidden_recipient_needs_a_copy_of_his_own(alone):
    actions = send(alone, ["nurse@hospital.test", "hidden@hospital.test"], TEXT, BSN)
    assert actions.reply.startswith("451 ")
    assert "apart" in actions.reply


def test_a_null_sender_with_sensitive_content_is_refused(alone):
    actions = send(alone, ["nurse@hospital.test"], TEXT, BSN, sender="")
    assert actions.reply.startswith("550 5.7.1 ")


def test_a_null_sender_without_passes(alone):
    assert send(alone, ["nurse@hospital.test"], TEXT, b"gelezen\r\n", sender="").untouched


def test_smtputf8_addresses_are_carried_on(alone):
    fields = [(b"From", "zuster.renée@care.test".encode()), (b"To", "patiënt@citizen.test".encode())]
    actions = send(alone, ["patiënt@citizen.test"], fields, b"hoi\r\n", sender="zuster.renée@care.test")
    assert actions.untouched
    assert actions.verdict == "a"


def test_an_opaque_signature_that_poses_as_encrypted_is_not_encrypted(alone):
    person = alone.certificates.person("doctor@care.test", "Dokter de Wit")
    signed = openssl(
        *("cms", "-sign", "-nodetach", "-outform", "DER", "-binary"),
        *("-signer", person.certificate, "-inkey", person.key),
        stdin=b"Content-Type: text/plain\r\n\r\n" + BSN,
    )
    fields = [
        *PLAIN,
        (b"Content-Type", b" application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m"),
        (b"Content-Transfer-Encoding", b" base64"),
        (b"X-Nta-Sensitive", b" yes"),
    ]
    body = base64.encodebytes(signed).replace(b"\n", b"\r\n")
    actions = send(alone, ["nurse@hospital.test"], fields, body)
    assert is_smime(actions)


@pytest.mark.parametrize(
    ("domain", "word"),
    [("long", ""), ("two", "ambiguous"), ("malformed", "ntamx"), ("stopper", "ntamx")],
)
def test_odd_records_never_lead_to_direct_delivery(alone, domain, word):
    actions = send(alone, [f"nurse@{domain}.test"], [*PLAIN[:1], *TEXT[2:]], BSN)
    assert actions.reply.startswith("550 5.7.1 ")
    assert actions.untouched
    assert word in actions.reply or "different" in actions.reply, actions.reply
