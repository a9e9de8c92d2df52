import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from nta_milter.portal.forms import BadRequest, Form, Upload, read_form


def form(kind: str, body: bytes, limit: int = 10_000, size: int = 7, announced: str | None = None) -> Form:
    """What ``read_form`` makes of a request that comes in pieces."""
    headers = [(b"content-type", kind.encode("latin-1"))]
    if announced is not None:
        headers.append((b"content-length", announced.encode("latin-1")))
    events = [
        {"type": "http.request", "body": body[start : start + size], "more_body": start + size < len(body)}
        for start in range(0, max(1, len(body)), size)
    ]

    async def receive():
        return events.pop(0) if events else {"type": "http.disconnect"}

    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    return asyncio.run(read_form(request, limit))


def multipart(*parts: bytes) -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


def field(name: str, value: bytes) -> bytes:
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value


URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"


def test_fields_are_decoded_and_the_first_counts():
    found = form(URLENCODED, b"code=roos+fiets%2047&code=x&leeg=&text=%C3%A9%0D%0Aa")
    assert found.text("code") == "roos fiets 47"
    assert found.text("leeg") == ""
    assert found.text("text") == "é\na"
    assert found.text("geen") == ""


def test_files_come_with_their_bytes_and_names():
    data = bytes(range(256)) + b"\r\n--c\r\n"
    found = form(
        MULTIPART,
        multipart(
            field("text", "dank é".encode()),
            b'Content-Disposition: form-data; name="files"; filename="f\xc3\xb6to%22.png"\r\n'
            b"Content-Type: image/png\r\n\r\n" + data,
            b'Content-Disposition: form-data; name="files"; filename=""\r\n\r\n',
            b'Content-Disposition: form-data; name="files"; filename="mail.eml"\r\n'
            b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\nbody",
        ),
    )
    assert found.text("text") == "dank é"
    assert found.uploads == (Upload('föto".png', data), Upload("mail.eml", b"Subject: x\r\n\r\nbody"))


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("", b"", 415),
        ("multipart/mixed; boundary=b", multipart(field("a", b"a")), 415),
        (URLENCODED, b"a=" + b"x" * 10_000, 413),
        (URLENCODED, "a=é".encode(), 400),
        (URLENCODED, b"a=%ff", 400),
        (URLENCODED, b"&".join(b"a=1" for _ in range(101)), 400),
        (MULTIPART, multipart(b"Content-Type: text/plain\r\n\r\nx"), 400),
        (MULTIPART, multipart(b'Content-Disposition: attachment; name="a"\r\n\r\nx'), 400),
        (MULTIPART, multipart(field("a", b"\xff")), 400),
        (MULTIPART, b"--b\r\n\r\n" * 3000, 413),
    ],
)
def test_what_is_no_form_of_ours_is_refused(kind, body, status):
    with pytest.raises(BadRequest) as error:
        form(kind, body)
    assert error.value.status == status


@pytest.mark.parametrize("announced", ["10001", "9" * 40, "9" * 5000])
def test_an_announced_length_is_enough_to_refuse(announced):
    with pytest.raises(BadRequest) as error:
        form(URLENCODED, b"a=1", announced=announced)
    assert error.value.status == 413


def test_a_body_that_ends_too_early_is_refused():
    async def receive():
        return {"type": "http.disconnect"}

    request = Request(
        {"type": "http", "method": "POST", "headers": [(b"content-type", URLENCODED.encode())]}, receive
    )
    with pytest.raises(BadRequest):
        asyncio.run(read_form(request, 10))


@given(
    st.sampled_from([URLENCODED, MULTIPART, "multipart/form-data"]),
    st.binary(max_size=300),
    st.integers(1, 99),
)
def test_any_bytes_are_a_form_or_refused(kind, body, size):
    statuses = []
    try:
        fields = form(kind, body, size=size).fields
    except BadRequest as error:
        fields = {}
        statuses.append(error.status)
    assert set(statuses) <= {400, 413, 415}
    assert all(isinstance(value, str) for value in fields.values())
