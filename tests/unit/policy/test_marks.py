import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.config.model import PolicySettings
from nta_milter.message.charset import decode_words
from nta_milter.message.headers import Headers
from nta_milter.policy.marks import Marks, encoded, in_secure_thread, thread_mark

LABEL = "9fbde396-1a24-4c79-8edf-9254a0f35055"
MARKS = Marks.compile(PolicySettings(mode="marked", msip_labels=(LABEL,)))


def codes(*fields: str) -> list[str]:
    headers = Headers.parse("".join(f"{field}\r\n" for field in fields).encode("utf-8", "surrogateescape"))
    return [reason.code for reason in MARKS.find(headers)]


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("X-NTA-Sensitive: yes", "mark-header"),
        ("Sensitivity: Company-Confidential", "mark-sensitivity"),
        ("sensitivity:  private ", "mark-sensitivity"),
        (f"msip_labels: MSIP_Label_{LABEL}_Enabled=true; MSIP_Label_{LABEL}_Name=x", "mark-label"),
        (f"MSIP_LABELS: a=b;\r\n MSIP_Label_{LABEL.upper()}_Enabled = True", "mark-label"),
        ("Subject: [veilig] uitslag", "mark-subject"),
        ("Subject: RE: FW: [Secure] uitslag", "mark-subject"),
        ("Subject: uitslag [VEILIG]", "mark-subject"),
        ("Subject: =?utf-8?q?=5Bveilig=5D_caf=C3=A9?=", "mark-subject"),
        ("References: <a@b.test>\r\n <nta-secure.0123@care.test>", "mark-thread"),
        ("In-Reply-To: <NTA-Secure.0123@care.test>", "mark-thread"),
    ],
)
def test_every_mark(field: str, code: str) -> None:
    assert codes("From: a@care.test", field) == [code]


@pytest.mark.parametrize(
    "field",
    [
        "X-Nta-Sensitive: no",
        "X-Nta-Sensitive:",
        "X-Nta-Sensitiveness: yes",
        "Sensitivity: Personal",
        f"msip_labels: MSIP_Label_{LABEL}_Enabled=false",
        "msip_labels: MSIP_Label_00000000-0000-0000-0000-000000000000_Enabled=true",
        "Subject: over [veilig] rijden",
        "Subject: veilig",
        "Subject:",
        "References: <nta-secure.x> <x-nta-secure.1@care.test>",
        "X-Other: <nta-secure.0123@care.test>",
    ],
)
def test_what_is_no_mark(field: str) -> None:
    assert codes(field) == []


def test_a_second_subject_counts_too() -> None:
    assert codes("Subject: one", "Subject: [secure] two") == ["mark-subject"]


def test_the_thread_mark_is_recognised_and_always_the_same() -> None:
    mark = thread_mark(b"<1@hospital.test>", "care.test")
    assert mark == thread_mark(b"<1@hospital.test>", "care.test")
    assert mark != thread_mark(b"<2@hospital.test>", "care.test")
    assert in_secure_thread(Headers().add("References", f"<1@hospital.test> {mark}"))


@pytest.mark.parametrize(
    ("subject", "without"),
    [
        (b"[veilig] uitslag", b"uitslag"),
        (b"Re: [Veilig] uitslag [secure]", b"Re: uitslag"),
        (b"[veilig]", b""),
        (b"[veilig] [secure] Re: [veilig] x", b"Re: x"),
        ("[veilig] café".encode(), b"=?utf-8?b?Y2Fmw6k=?="),
        (b"=?utf-8?q?=5Bveilig=5D_caf=C3=A9?=", b"=?utf-8?b?Y2Fmw6k=?="),
        (b"=?utf-8?q?=5Bveilig=5D_x=0D=0ABcc:_y?=", b"x Bcc: y"),
    ],
)
def test_tags_are_removed(subject: bytes, without: bytes) -> None:
    headers = Headers.parse(b"A: b\r\nSubject: " + subject + b"\r\nX-Nta-Sensitive: yes\r\nC: d\r\n\r\n")
    assert bytes(MARKS.without_tags(headers)) == b"A: b\r\nSubject: " + without + b"\r\nC: d\r\n"


def test_untouched_is_the_same_object() -> None:
    headers = Headers.parse(b"Subject: caf\xe9 =?utf-8?q?x?=\r\n\r\n")
    assert MARKS.without_tags(headers) is headers


@given(st.text(max_size=300))
def test_an_encoded_subject_says_the_same_in_one_field(text: str) -> None:
    value = encoded(text, b"Subject")
    headers = Headers.parse(b"Subject: " + value + b"\r\nTo: x\r\n\r\n")
    assert [field.name for field in headers] == [b"Subject", b"To"]
    read = decode_words(headers.fields[0].value)
    assert [c for c in read if c.isprintable() and c != " "] == [
        c for c in text if c.isprintable() and c != " "
    ]


@given(st.binary(max_size=100))
def test_any_subject(subject: bytes) -> None:
    headers = Headers.parse(b"Subject: [veilig] " + subject.replace(b"\n", b"") + b"\r\n")
    cleaned = MARKS.without_tags(headers)
    assert cleaned is not headers
    assert len(cleaned) == 1
