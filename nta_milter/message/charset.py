"""Bytes to text without ever failing: charsets and the encoded words of RFC 2047."""

from __future__ import annotations

import binascii
import re
from encodings.aliases import aliases
from functools import lru_cache

from nta_milter.message.buffer import Buffer
from nta_milter.message.transfer import decode_base64

# Only these: the codec registry remembers every name that it is asked for, and some of its codecs are no
# charsets (zlib, rot13) or take quadratic time (punycode, idna).
_NO_CHARSETS = {"base64_codec", "bz2_codec", "hex_codec", "mbcs", "quopri_codec", "rot_13", "uu_codec"}
_NO_CHARSETS |= {"zlib_codec"}
_UNALIASED = ("cp720", "cp737", "cp856", "cp874", "cp1006", "koi8_t", "koi8_u", "utf_8_sig")
_CHARSETS = {
    **{alias: codec for alias, codec in aliases.items() if codec not in _NO_CHARSETS},
    **{codec: codec for codec in (*aliases.values(), *_UNALIASED) if codec not in _NO_CHARSETS},
    "windows_874": "cp874",
    "x_gbk": "gbk",
    "x_sjis": "shift_jis",
}

_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf_8_sig"), (b"\xff\xfe", "utf_16"), (b"\xfe\xff", "utf_16"))

_ENCODED_WORD = re.compile(rb"=\?([^?\s*]{1,64})(?:\*[^?\s]{0,64})?\?([BbQq])\?([^?]*)\?=")


@lru_cache(maxsize=256)
def codec_of(charset: str) -> str | None:
    """Python's name for a charset (RFC 2046 section 4.1.2); None for one that is unknown."""
    if len(charset) > 64:
        return None
    return _CHARSETS.get(re.sub(r"[^a-z0-9]+", "_", charset.lower()).strip("_"))


def decode_text(data: Buffer, charset: str = "") -> str:
    """The text of ``data``; never raises.

    A byte order mark comes first, then the charset. Where the charset is unknown, ASCII or wrong about
    being UTF-8, it is UTF-8 if it can be and Windows-1252 otherwise; a byte that means nothing becomes
    U+FFFD.
    """
    start = bytes(data[:3])
    if not start.isascii():
        for mark, codec in _BYTE_ORDER_MARKS:
            if start.startswith(mark):
                return str(data, codec, "replace")
    known = codec_of(charset) or "utf_8"
    if known in ("utf_8", "ascii"):
        try:
            return str(data, "utf_8")
        except UnicodeDecodeError:
            known = "cp1252"
    try:
        text = str(data, known, "replace")
    except (UnicodeError, LookupError):
        return str(data, "latin_1")
    if known == "utf_7":  # it lets single surrogates through, which nothing can encode again
        return text.encode("utf-8", "replace").decode("utf-8")
    return text


def decode_words(value: bytes) -> str:
    """The text of an unstructured field value or phrase, encoded words decoded; never raises.

    Words that stand next to each other are one text (RFC 2047 section 6.2), even when a character was cut
    in two. What is not encoded is UTF-8 if it can be.
    """
    if b"=?" not in value:
        return decode_text(value)
    texts: list[str] = []
    pending = b""
    charset = ""
    position = 0
    for word in _ENCODED_WORD.finditer(value):
        between = value[position : word.start()]
        name = word[1].decode("ascii", "replace").lower()
        if between.strip() or not position or name != charset:
            texts.append(decode_text(pending, charset))
            pending = b""
        if between.strip() or not position:
            texts.append(decode_text(between))
        charset = name
        if word[2] in b"Bb":
            pending += decode_base64(word[3])
        else:
            pending += binascii.a2b_qp(word[3], header=True)
        position = word.end()
    texts.append(decode_text(pending, charset))
    texts.append(decode_text(value[position:]))
    return "".join(texts)
