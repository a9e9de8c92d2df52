"""Sensitive content in a text: citizen service numbers, patient numbers, words. Cheap tests come first."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from nta_milter.policy.pattern import NumberPattern

REACH = 200
"""Characters between a citizen service number and the word for it, either side."""

CHUNK = 1_048_576
"""Characters that are looked at together; chunks overlap, so that nothing is cut."""

OVERLAP = 2_048
"""Longer than any number with its word, any patient number and any phrase."""

FEW = 32
"""Most words of a list that are looked for one by one."""


def _plain(byte: int) -> int:
    """One Latin-1 character in lower case and without its accent, blanks of all kinds as a blank."""
    if byte in (0x85, 0xA0, *b"\t\n\v\f\r"):
        return 0x20
    if byte == 0xAD:  # a soft hyphen
        return 0x2D
    base = unicodedata.normalize("NFD", chr(byte).lower())[0]
    return ord(base) if ord(base) < 0x100 else byte


_FOLD = bytes(_plain(byte) for byte in range(256))
_TOKENS = bytes(_FOLD[byte] if chr(_FOLD[byte]).isalnum() else 0x20 for byte in range(256))

# A word for the number (burgerservicenummer, formerly sofinummer) begins with one of these.
_STEMS = (b"bsn", b"sofi", b"b.s.n", b"burger", b"citizen ser")
_WORD = re.compile(rb"bsn|b\.s\.n|sofi[- ]?n(?:umme)?r|burger[- ]?service[- ]?n|citizen service n")

# Nine digits, separators allowed: a line may be broken between them, or each stands in a box of its own. A
# dash or blank outside Latin-1 is folded to a question mark. Or eight digits, from a spreadsheet that dropped
# the zero in front.
_NUMBER = re.compile(rb"(?<![0-9])(?=([0-9](?:[ .\-?]{0,4}[0-9]){8}|[0-9]{8})(?![0-9]))")
_RUN = re.compile(rb"(?<![0-9])[0-9]{9}(?![0-9])")
_COLUMN = 3
_DATE = re.compile(rb"(?:19|20)[0-9]{2}[01][0-9][0-3][0-9]|[0-3][0-9][01][0-9](?:19|20)[0-9]{2}")
_WEIGHTS = (9, 8, 7, 6, 5, 4, 3, 2, -1)


def fold(text: str) -> bytes:
    """A byte for each character: lower case, no accents; what is not Latin-1 becomes a question mark."""
    return text.encode("latin-1", "replace").translate(_FOLD)


def chunks(text: str) -> Iterator[str]:
    """A text in pieces that fit the processor's cache."""
    if len(text) <= CHUNK:
        yield text
        return
    for start in range(0, len(text), CHUNK):
        yield text[start : start + CHUNK + OVERLAP]


def has_citizen_number(folded: bytes) -> bool:
    """Whether a citizen service number stands near a word for it, or a column of them in one text with it."""
    for stem in _STEMS:
        if stem in folded:
            break
    else:
        return False
    near = list(_near_words(folded))
    return any(
        is_citizen_number(found[1]) for start, stop in near for found in _NUMBER.finditer(folded, start, stop)
    ) or (bool(near) and _has_column(folded))


def _has_column(folded: bytes) -> bool:
    """Whether most numbers of nine digits pass: chance lets one in eleven pass.

    The word stands above a column, and what is above the other columns may be longer than its reach.
    """
    runs = _RUN.findall(folded)
    passed = sum(map(is_citizen_number, runs))
    return passed >= _COLUMN and 2 * passed >= len(runs)


def _near_words(folded: bytes) -> Iterator[tuple[int, int]]:
    """The stretches within reach of a word for the number, those that touch joined."""
    start = stop = 0
    for word in _WORD.finditer(folded):
        if folded[max(0, word.start() - 1) : word.start()].isalpha():
            continue
        if word.start() - REACH > stop:
            if stop:
                yield start, stop
            start = word.start() - REACH
        stop = word.end() + REACH
    if stop:
        yield start, stop


def is_citizen_number(written: bytes) -> bool:
    """The eleven-test on nine digits with or without separators, or on eight that are no date."""
    digits = bytes(byte for byte in written if 0x30 <= byte <= 0x39)
    if len(digits) == 8:
        if _DATE.fullmatch(digits):
            return False
        digits = b"0" + digits
    total = sum(weight * (digit - 0x30) for weight, digit in zip(_WEIGHTS, digits, strict=True))
    return total % 11 == 0 and digits.strip(b"0") != b""


@dataclass(frozen=True, slots=True)
class WordList:
    """Words and phrases, compared without regard to case and accents, as whole words."""

    words: frozenset[bytes]
    phrases: tuple[tuple[bytes, ...], ...]
    starts: frozenset[bytes]
    """The words, and the first word of each phrase."""
    foreign: tuple[str, ...]
    """Words that Latin-1 cannot write, case-folded."""

    @classmethod
    def compile(cls, entries: Iterable[str]) -> WordList:
        """Entries without a letter or digit say nothing and are left out."""
        words: set[bytes] = set()
        phrases: set[tuple[bytes, ...]] = set()
        foreign: set[str] = set()
        for entry in entries:
            if max(entry, default="") > "\xff":
                foreign.add(entry.casefold())
                continue
            tokens = tuple(entry.encode("latin-1").translate(_TOKENS).split())
            if len(tokens) == 1:
                words.add(tokens[0])
            elif tokens:
                phrases.add(tokens)
        starts = words.union(phrase[0] for phrase in phrases)
        return cls(frozenset(words), tuple(sorted(phrases)), frozenset(starts), tuple(sorted(foreign)))

    def found(self, text: str, folded: bytes) -> bool:
        """Whether one of them stands in the text; ``folded`` is the same text folded."""
        if self.starts:
            line = b" %b " % folded.translate(_TOKENS)
            present = self._starts_in(line)
            if not self.words.isdisjoint(present) or (present and self._has_phrase(line.split())):
                return True
        if not self.foreign or text.isascii():
            return False
        lower = text.casefold()
        return any(word in lower and _is_whole(word, lower) for word in self.foreign)

    def _starts_in(self, line: bytes) -> frozenset[bytes]:
        """Which of ``starts`` stand there: a few are found sooner than a text is split into words."""
        if len(self.starts) <= FEW:
            return frozenset(word for word in self.starts if b" %b " % word in line)
        return self.starts.intersection(line.split())

    def _has_phrase(self, tokens: list[bytes]) -> bool:
        present = frozenset(tokens)
        joined = b" %b " % b" ".join(tokens)
        return any(
            present.issuperset(phrase) and b" %b " % b" ".join(phrase) in joined for phrase in self.phrases
        )


def _is_whole(word: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


@dataclass(frozen=True, slots=True)
class ContentRules:
    """All that makes a text sensitive."""

    citizen_number: bool
    patient_number: NumberPattern | None
    words: WordList

    @property
    def numbers_have_digits(self) -> bool:
        """Whether a text without a digit has no number either, whatever the pattern of patient numbers."""
        return self.patient_number is None or self.patient_number.digits > 0

    def kinds(self, text: str) -> Iterator[str]:
        """What kinds of sensitive content stand in a text, the quickest found first."""
        kinds: set[str] = set()
        for piece in chunks(text):
            for kind in self._kinds(piece, fold(piece)):
                if kind not in kinds:
                    kinds.add(kind)
                    yield kind

    def _kinds(self, text: str, folded: bytes) -> Iterator[str]:
        if self.citizen_number and has_citizen_number(folded):
            yield "content-bsn"
        if self.patient_number is not None and self.patient_number.found(text, folded):
            yield "content-patient-number"
        if self.words.found(text, folded):
            yield "content-word"
