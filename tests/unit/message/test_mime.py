import base64
import re
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.errors import LimitExceeded
from nta_milter.message.headers import Headers, split
from nta_milter.message.mime import MISS_LIMIT, Part, attachment_size, attachments_over, parse, wire_size
from nta_milter.message.model import Buffer


def parsed(data: bytes, *, part_limit: int = 1_000, depth_limit: int = 50) -> tuple[Part, bytes]:
    headers, start = split(data)
    body = data[start:]
    return parse(headers, body, part_limit=part_limit, depth_limit=depth_limit), body


def multipart(boundary: bytes, *parts: bytes, kind: bytes = b"mixed", end: bool = True) -> bytes:
    head = b'Content-Type: multipart/%b; boundary="%b"\r\n\r\n' % (kind, boundary)
    inside = b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in parts)
    return head + inside + (b"--%b--\r\n" % boundary if end else b"")


def shape(part: Part) -> object:
    return (
        (part.content_type, [shape(child) for child in part.children]) if part.children else part.content_type
    )


def contents(part: Part, body: bytes) -> list[bytes]:
    return [bytes(item.raw(body)) for item in part.walk() if not item.children]


@pytest.mark.parametrize(
    "headers", [b"", b"Content-Type:\r\n", b"Content-Type: text\r\n", b"Content-Type: \xff/\x00\r\n"]
)
def test_no_usable_content_type_is_text(headers: bytes) -> None:
    part, body = parsed(headers + b"\r\nhello\r\n")
    assert part.content_type == "text/plain"
    assert part.header_start is None
    assert bytes(part.raw(body)) == b"hello\r\n"


@pytest.mark.parametrize("body", [b"", b"\r", b"\n", b"\r\n", b"\x00", b"--", b"\r\n--"])
def test_hardly_a_body(body: bytes) -> None:
    for kind in (b"text/plain", b"multipart/mixed; boundary=b", b"message/rfc822"):
        part, rest = parsed(b"Content-Type: " + kind + b"\r\n\r\n" + body)
        assert rest == body
        assert bytes(part.raw(rest)) == body


def test_a_multipart_and_the_line_ends_of_its_parts() -> None:
    data = (
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\npreamble\r\n--b\r\n\r\none\r\n\r\n--b  \r\n'
        b"Content-Type: text/html\r\n\r\n<p>\r\n--b\r\n--b--\r\nepilogue\r\n--b\r\nnot a part"
    )
    part, body = parsed(data)
    assert shape(part) == ("multipart/mixed", ["text/plain", "text/html", "text/plain"])
    assert contents(part, body) == [b"one\r\n", b"<p>", b""]
    assert bytes(part.children[1].entity(body)) == b"Content-Type: text/html\r\n\r\n<p>"
    assert part.entity(body) == data


def test_bare_lf() -> None:
    part, body = parsed(b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo\n--b--\n")
    assert contents(part, body) == [b"one", b"two"]


def test_without_a_last_boundary_the_part_ends_with_what_surrounds_it() -> None:
    inner = multipart(b"in", b"\r\none", b"\r\ntwo", end=False)
    part, body = parsed(multipart(b"out", inner, b"\r\nthree", end=False))
    assert contents(part, body) == [b"one", b"two\r\n", b"three\r\n"]


def test_a_boundary_may_begin_another() -> None:
    inner = multipart(b"b-inner", b"\r\none", b"\r\n--bx\r\n--b--x")
    part, body = parsed(multipart(b"b", inner, b"\r\nthree"))
    assert shape(part) == (
        "multipart/mixed",
        [("multipart/mixed", ["text/plain", "text/plain"]), "text/plain"],
    )
    assert contents(part, body) == [b"one", b"--bx\r\n--b--x", b"three"]


@pytest.mark.parametrize("boundary", [b"=_.*+?(x)[y]", b"a b", b"'()+_,-./:=?", b"\xe9\xff", b"--", b"--b--"])
def test_boundaries_with_odd_characters(boundary: bytes) -> None:
    part, body = parsed(multipart(boundary, b"\r\none", b"\r\ntwo"))
    assert contents(part, body) == [b"one", b"two"]


def test_a_multipart_without_a_usable_boundary_has_no_parts() -> None:
    for data in (b"Content-Type: multipart/mixed\r\n\r\nx", multipart(b"b" * 513, b"\r\none")):
        part, _ = parsed(data)
        assert part.children == ()
        assert part.defects == ("a multipart without a usable boundary",)


def test_duplicate_fields_that_differ_are_defects() -> None:
    part, _ = parsed(b"Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\nx")
    assert part.defects == ("several Content-Type fields",)
    part, _ = parsed(b"Content-Type: text/plain\r\ncontent-type: text/plain\r\n\r\nx")
    assert part.defects == ()
    part, _ = parsed(b"Content-Type: multipart/mixed; boundary=a; boundary=b\r\n\r\n--a\r\n\r\nx")
    assert part.defects == ("ambiguous parameters",)


def test_messages_inside_are_taken_apart() -> None:
    message = b"Subject: inner\r\n" + multipart(b"in", b"\r\none")
    part, body = parsed(
        multipart(
            b"out",
            b"Content-Type: message/rfc822\r\n\r\n" + message,
            b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            + base64.b64encode(message),
        )
    )
    assert shape(part) == (
        "multipart/mixed",
        [("message/rfc822", [("multipart/mixed", ["text/plain"])]), "message/rfc822"],
    )
    assert part.children[0].children[0].headers.first("Subject") == b"inner"
    assert part.children[1].decoded(body) == message


def test_a_digest_holds_messages() -> None:
    part, _ = parsed(multipart(b"b", b"\r\nSubject: x\r\n\r\none", kind=b"digest"))
    assert shape(part) == ("multipart/digest", [("message/rfc822", ["text/plain"])])


def test_names_and_decoding() -> None:
    part, body = parsed(
        b"Content-Type: application/pdf; name=old\r\nContent-Transfer-Encoding: BASE64 \r\n"
        b"Content-Disposition: attachment; filename*=utf-8''caf%C3%A9.pdf\r\n\r\nQUJD\r\n"
    )
    assert (part.disposition, part.filename, part.encoding) == ("attachment", "café.pdf", "base64")
    assert part.decoded(body) == b"ABC"


def test_limits() -> None:
    many = multipart(b"b", *[b"\r\nx"] * 10)
    assert len(list(parsed(many, part_limit=11)[0].walk())) == 11
    with pytest.raises(LimitExceeded, match="more than 10 MIME parts"):
        parsed(many, part_limit=10)
    deep = multipart(b"a", multipart(b"b", multipart(b"c", b"\r\nx")))
    parsed(deep, depth_limit=3)
    with pytest.raises(LimitExceeded, match="nested deeper than 2"):
        parsed(deep, depth_limit=2)


@pytest.mark.parametrize("kind", ["multipart", "message"])
def test_3000_nested_entities_are_refused(kind: str) -> None:
    if kind == "multipart":
        data = b"".join(
            b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(3_000)
        )
    else:
        data = b"Content-Type: message/rfc822\r\n\r\n" * 3_000
    with pytest.raises(LimitExceeded, match="nested deeper"):
        parsed(data)


def test_millions_of_lines_that_begin_like_a_boundary_are_refused() -> None:
    data = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + b"\n--bx" * (MISS_LIMIT + 1)
    with pytest.raises(LimitExceeded, match="begin like a boundary"):
        parsed(data)


def test_attachment_size_is_counted_in_decoded_bytes() -> None:
    file = base64.encodebytes(b"x" * 10_000).replace(b"\n", b"\r\n")
    attachment = b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + file
    part, body = parsed(
        multipart(
            b"b",
            b"\r\nthe text",
            attachment,
            b"Content-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\n12345",
            b"Content-Type: message/rfc822\r\n\r\n" + multipart(b"c", b"\r\n1234567", attachment),
        )
    )
    total = 10_000 + 5 + 7 + 10_000
    assert attachment_size(part, body) == total
    assert [attachments_over(part, body, limit) for limit in (0, total - 1, total, total + 1)] == [
        total,
        total,
        0,
        0,
    ]


def test_wire_size_of_an_enveloped_message() -> None:
    size = 27_000_000  # 20 MB of attachments in base64
    assert wire_size(size, enveloped=False) == size
    assert 1.36 < wire_size(size, enveloped=True) / size < 1.38


def test_the_standard_library_finds_the_same_parts() -> None:
    message = EmailMessage()
    message["Subject"] = "x"
    message.set_content("text with caf\u00e9\n")
    message.add_alternative("<p>html</p>", subtype="html")
    message.add_attachment(
        b"\x00\x01" * 500, maintype="application", subtype="octet-stream", filename="a.bin"
    )
    data = re.sub(rb"\r?\n", b"\r\n", bytes(message))
    part, body = parsed(data)
    ours = [(item.content_type, item.decoded(body)) for item in part.walk() if not item.children]
    theirs = [
        (item.get_content_type(), item.get_payload(decode=True))
        for item in message.walk()
        if not item.is_multipart()
    ]
    assert [kind for kind, _ in ours] == [kind for kind, _ in theirs]
    assert [content.strip() for _, content in ours] == [
        content.replace(b"\n", b"\r\n").strip() if b"\0" not in content else content for _, content in theirs
    ]


TYPE = rb"Content-Type: (multipart/(mixed|digest); boundary=b1?|message/rfc822|text/html)"
LINE = rb"(--b1?(--)?[ \t]?|" + TYPE + rb"|[ -~\x80\x00]{0,6})(\r\n|\n|\r)"


@given(
    st.from_regex(rb"Content-Type: multipart/mixed; boundary=b\r\n\r\n(" + LINE + rb"){0,30}", fullmatch=True)
)
def test_every_part_is_a_slice_and_children_lie_within_their_parent(data: bytes) -> None:
    headers, start = split(data)
    body = data[start:]
    for buffer in (body, memoryview(body)):
        try:
            part = parse(headers, buffer, part_limit=100, depth_limit=5)
        except LimitExceeded:
            continue
        check(part, buffer)


@given(st.binary(), st.binary(max_size=100))
def test_any_bytes(fields: bytes, body: bytes) -> None:
    check(parse(Headers.parse(fields), body, part_limit=100, depth_limit=5), body)


def check(part: Part, body: Buffer) -> None:
    whole = bytes(body)
    for item in part.walk():
        begin = item.start if item.header_start is None else item.header_start
        assert 0 <= begin <= item.start <= item.stop <= len(whole)
        assert bytes(item.raw(body)) == whole[item.start : item.stop]
        assert isinstance(item.decoded(body), bytes)
        previous = item.start
        for child in item.children:
            assert child.header_start is not None
            assert previous <= child.header_start <= child.stop <= item.stop
            assert bytes(child.entity(body)) == whole[child.header_start : child.stop]
            previous = child.stop
    assert attachment_size(part, body) >= 0
