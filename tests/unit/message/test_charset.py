import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.message.charset import codec_of, decode_text, decode_words


@pytest.mark.parametrize(
    ("data", "charset", "text"),
    [
        (b"caf\xc3\xa9", "utf-8", "café"),
        (b"caf\xe9", "iso-8859-1", "café"),
        (b"caf\xe9", "utf-8", "café"),
        (b"caf\xe9", "us-ascii", "café"),
        (b"caf\xe9", "x-unknown", "café"),
        (b"caf\xc3\xa9", "", "café"),
        (b"\x80 5", "windows-1252", "€ 5"),
        ("BSN".encode("utf-16"), "", "BSN"),
        (b"\xef\xbb\xbfBSN", "", "BSN"),
        (b"a\x00b", "", "a\x00b"),
        (b"+AOk-", "utf-7", "é"),
    ],
)
def test_text(data: bytes, charset: str, text: str) -> None:
    assert decode_text(data, charset) == text
    assert decode_text(memoryview(data), charset) == text


@pytest.mark.parametrize(
    "charset", ["zlib", "rot13", "punycode", "idna", "undefined", "unicode_escape", "a" * 99]
)
def test_codecs_that_are_no_charset_are_unknown(charset: str) -> None:
    assert codec_of(charset) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"plain", "plain"),
        (b"=?utf-8?q?caf=C3=A9_x?=", "café x"),
        (b"=?ISO-8859-1*nl?Q?caf=E9?= y", "café y"),
        (b"a =?utf-8?b?Y2Fmw6k=?= b", "a café b"),
        (b"=?utf-8?b?Y2Fmww==?= =?UTF-8?b?qQ==?=", "café"),
        (b"=?utf-8?q?a?=\t=?iso-8859-1?q?b?= c", "ab c"),
        (b"=?utf-8?b?!!!?= x", " x"),
        (b"=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
        (b"=?utf-8?q?never ends", "=?utf-8?q?never ends"),
        (b"caf\xe9 \x00 =?nowhere?q?=41?=", "café \x00 A"),
    ],
)
def test_encoded_words(value: bytes, text: str) -> None:
    assert decode_words(value) == text


@given(
    st.binary(), st.text(max_size=20) | st.sampled_from(("utf-16", "utf-7", "iso-2022-jp", "hz", "gb18030"))
)
def test_text_never_fails(data: bytes, charset: str) -> None:
    assert isinstance(decode_text(data, charset), str)


@given(
    st.from_regex(rb"(=\?(utf-8|x|utf-16)\?[bBqQ]\?[ -~\x80]{0,9}\?=|[ \r\na\xe9?=]{0,3}){0,6}") | st.binary()
)
def test_words_never_fail(value: bytes) -> None:
    assert isinstance(decode_words(value), str)
