"""Addresses in header fields and in the envelope; nothing here raises (RFC 5322, RFC 5321, RFC 6531)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from nta_milter.message.charset import decode_words
from nta_milter.message.headers import Headers

MALFORMED = ""
"""What stands in a list of addresses for an item that cannot be read as one."""

ADDRESS_LIMIT = 10_000
"""Most addresses that are read from the fields of one name."""

_DOMAIN_LENGTH = 253
_CACHED_LENGTH = 512

# One token of RFC 5322 section 3.2: quoted string, blanks, domain literal, special, or a run of anything
# else. Comments nest and are counted by hand. A quoted string without an end takes all, so that no byte is
# looked at twice.
_TOKEN = re.compile(
    rb'"((?:[^"\\]|\\.)*)("?)|(\s+)|(\[[^\[\]\\\s]*\])|([()<>@,:;"\[\]\\])|([^\s()<>@,:;"\[\]\\]+)', re.DOTALL
)
_COMMENT_PIECE = re.compile(rb"\\.|[()]", re.DOTALL)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_DOT_ATOM = re.compile(r"[^\s\x00-\x20()<>\[\]:;@\\,.\"\x7f]+(\.[^\s\x00-\x20()<>\[\]:;@\\,.\"\x7f]+)*")
# A local part that every reader takes for one: no quotes around specials, no comment, and not the signs by
# which Postfix takes another host out of it (allow_percent_hack, swap_bangpath, resolve_dequoted_address).
_PLAIN_LOCAL = re.compile(r'[^\s\x00-\x20()<>\[\]:;@\\,"%!\x7f]*|"[^\x00-\x1f@%!"\\\x7f]*"')
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_SOURCE_ROUTE = re.compile(r"@[^:]*:")

# Letters that IDNA 2003, which Python has, maps to others and IDNA 2008 keeps (RFC 5895, UTS 46): they
# name different domains.
_DEVIATIONS = re.compile("[ßς\u200c\u200d]")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One address: display name, local part as it was meant (unquoted), domain as lower-case A-labels."""

    display: str
    local: str
    domain: str

    @property
    def address(self) -> str:
        """``local@domain``, the local part quoted only where it must be."""
        return f"{quoted_local(self.local)}@{self.domain}"


@dataclass(frozen=True, slots=True)
class AddressList:
    """The addresses of one or several fields, duplicates included, members of groups among them.

    ``malformed`` counts the items that cannot be read as an address. ``groups`` are the groups' names.
    """

    mailboxes: tuple[Mailbox, ...] = ()
    malformed: int = 0
    groups: tuple[str, ...] = ()


def addresses(headers: Headers, name: str) -> tuple[str, ...]:
    """The addresses of all fields of this name, lower case, duplicates removed, in order.

    Items that cannot be read stand as one MALFORMED at the end: who needs exactly one address then has not.
    """
    found = address_list(field.value for field in headers.all(name))
    unique = dict.fromkeys(mailbox.address.lower() for mailbox in found.mailboxes)
    return (*unique, MALFORMED) if found.malformed else tuple(unique)


def address_list(values: Iterable[bytes]) -> AddressList:
    """Read unfolded values of From, To, Cc, Reply-To or Sender."""
    given = tuple(values)
    if len(given) == 1 and len(given[0]) <= _CACHED_LENGTH:
        return _cached(given[0])
    return _read(given)


@lru_cache(maxsize=1024)
def _cached(value: bytes) -> AddressList:
    """One message is asked several times who sent it, and the same people write again."""
    return _read((value,))


def _read(values: tuple[bytes, ...]) -> AddressList:
    reader = _Reader()
    for value in values:
        reader.read(value)
    return AddressList(tuple(reader.mailboxes), reader.malformed, tuple(reader.groups))


def envelope_address(raw: bytes | str) -> str:
    """An envelope address without angle brackets and source route; its local part is kept as it is.

    Bytes that are no UTF-8 stay visible as ``\\xNN``, so that such an address equals no other.
    """
    text = raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else raw
    text = text.strip()
    if text.startswith("<") and text.endswith(">"):
        text = text[1:-1].strip()
    return _SOURCE_ROUTE.sub("", text, count=1) if text.startswith("@") else text


def envelope_domain(address: str) -> str:
    """What follows the last ``@`` as lower-case A-labels; empty when there is none.

    A domain that cannot be one is given back in lower case: it equals none of ours and no DNS has it. So is
    a whole address whose local part may name another host: Postfix sends ``jan%other.test@ours.test`` to
    other.test.
    """
    local, at, domain = address.rpartition("@")
    if not _PLAIN_LOCAL.fullmatch(local if at else domain):
        return address.lower()
    return (a_labels(domain) or domain.lower()) if at else ""


@lru_cache(maxsize=4096)
def a_labels(domain: str) -> str | None:
    """A domain in lower-case A-labels (RFC 5890) without a final dot; None when it cannot be one.

    An address literal is given back as it is, lower case.
    """
    if len(domain) > _DOMAIN_LENGTH:
        return None
    if domain.startswith("[") and domain.endswith("]"):
        return domain.lower()
    labels = [_a_label(label) for label in domain.removesuffix(".").replace("\u3002", ".").split(".")]
    joined = ".".join(label for label in labels if label)
    return joined if all(labels) and len(joined) <= _DOMAIN_LENGTH else None


def _a_label(label: str) -> str | None:
    if not label.isascii():
        try:
            if _DEVIATIONS.search(label):
                label = "xn--" + unicodedata.normalize("NFKC", label.lower()).encode("punycode").decode(
                    "ascii"
                )
            else:
                label = label.encode("idna").decode("ascii")
        except UnicodeError:
            return None
    label = label.lower()
    return label if _LABEL.fullmatch(label) else None


def quoted_local(local: str) -> str:
    """A local part as it is written: as a quoted string where it is no dot-atom."""
    if _DOT_ATOM.fullmatch(local):
        return local
    return '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: bytes
    blank: bool
    """Whether blanks or a comment stand before it."""


class _Reader:
    """Reads address lists (RFC 5322 section 3.4) in one pass, bounded and without recursion."""

    def __init__(self) -> None:
        self.mailboxes: list[Mailbox] = []
        self.groups: list[str] = []
        self.malformed = 0

    def read(self, value: bytes) -> None:
        """One field value."""
        item: list[_Token] = []
        angle = group = False
        for token in _tokens(value):
            if len(self.mailboxes) >= ADDRESS_LIMIT:
                self.malformed += 1
                return
            if angle or token.kind not in ",:;":
                angle = token.kind == "<" or (angle and token.kind != ">")
                item.append(token)
            elif token.kind == ":" and not group:
                self.groups.append(_display(item))
                group, item = True, []
            else:
                self._item(item)
                item = []
                # a colon within a group, or a semicolon that ends none
                self.malformed += token.kind == ":" or (token.kind == ";" and not group)
                group &= token.kind != ";"
        self._item(item)
        self.malformed += group  # it has no end

    def _item(self, item: list[_Token]) -> None:
        """One element of a list; empty ones are obsolete syntax and mean nothing (section 4.4)."""
        if item:
            mailbox = _mailbox(item)
            if mailbox is None:
                self.malformed += 1
            else:
                self.mailboxes.append(mailbox)


def _tokens(value: bytes) -> Iterator[_Token]:
    position = 0
    blank = False
    while token := _TOKEN.match(value, position):
        position = token.end()
        quoted, end, blanks, literal, special, text = token.groups()
        if special == b"(":
            position = comment_end(value, position)
            blank = True
        elif blanks:
            blank = True
        else:
            if quoted is not None:
                kind = "quoted" if end else "unterminated"
                yield _Token(kind, _QUOTED_PAIR.sub(rb"\1", quoted), blank)
            elif special:
                yield _Token(special.decode("ascii"), special, blank)
            else:
                yield _Token("literal" if literal else "text", literal or text, blank)
            blank = False


def comment_end(value: bytes, position: int) -> int:
    """Where the comment ends whose bracket is before ``position``, nested ones too; an open one takes all."""
    depth = 1
    for piece in _COMMENT_PIECE.finditer(value, position):
        depth += (piece[0] == b"(") - (piece[0] == b")")
        if not depth:
            return piece.end()
    return len(value)


def _mailbox(item: list[_Token]) -> Mailbox | None:
    kinds = [token.kind for token in item]
    if "<" not in kinds:
        return _address("", item)
    begin = kinds.index("<")
    if kinds[-1] != ">" or any(kind not in ("quoted", "text") for kind in kinds[:begin]):
        return None
    inner = item[begin + 1 : -1]
    if inner and inner[0].kind == "@":  # a source route (section 4.4)
        colons = [index for index, token in enumerate(inner) if token.kind == ":"]
        inner = inner[colons[0] + 1 :] if colons else []
    return _address(_display(item[:begin]), inner)


def _address(display: str, tokens: list[_Token]) -> Mailbox | None:
    """The addr-spec (section 3.4.1) that these tokens are, blanks only around the @."""
    kinds = [token.kind for token in tokens]
    if kinds.count("@") != 1:
        return None
    at = kinds.index("@")
    local, domain = tokens[:at], tokens[at + 1 :]
    if not local or any(token.blank for token in (*local[1:], *domain[1:])):
        return None
    if any(kind not in ("quoted", "text") for kind in kinds[:at]):
        return None
    if any(token.kind != "text" for token in domain) and [token.kind for token in domain] != ["literal"]:
        return None
    try:
        name = b"".join(token.text for token in local).decode("utf-8")
        host = a_labels(b"".join(token.text for token in domain).decode("utf-8"))
    except UnicodeDecodeError:
        return None
    return Mailbox(display, name, host) if host and name.isprintable() else None


def _display(tokens: list[_Token]) -> str:
    return decode_words(b" ".join(token.text for token in tokens))
