"""The administrator's pattern for patient numbers: a small language whose cost is known before it runs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nta_milter.errors import ConfigurationError

LENGTH_LIMIT = 200
WIDTH_LIMIT = 200
CHOICES_LIMIT = 1_000

_KEY = "policy.patient_number"
_TOKEN = re.compile(
    r"(?P<zero>\\[bB]|\^|\$)"
    r"|(?P<open>\((?:\?:)?)"
    r"|(?P<close>\))(?P<optional>\??)"
    r"|(?P<bar>\|)"
    r"|(?:(?P<digit>\\d|\[0-9\])|(?:\\[DwWsS]|\\[^\w]|\[\^?(?:\\[^\n]|[^\]\\\[])+\]|[^\\\[\](){}*+?|^$]))"
    r"(?:(?P<maybe>\?)|\{(?P<least>[0-9]{1,3})(?P<range>,(?P<most>[0-9]{1,3}))?\})?"
)
_CASELESS = "(?i)"
_DIGITS = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
_FEWEST_DIGITS = 3


@dataclass(frozen=True, slots=True)
class NumberPattern:
    """A pattern that matches at most ``width`` characters, ``digits`` of them in one run at least."""

    expression: re.Pattern[str]
    width: int
    digits: int

    @classmethod
    def compile(cls, pattern: str) -> NumberPattern:
        """Check and compile.

        Characters, classes, ``\\d \\w \\s \\b``, groups, ``|``, ``?``, ``{n}`` and ``{n,m}`` are allowed, and
        ``(?i)`` in front. What could take long is not: no ``*`` and ``+``, no repeated groups, and not
        too many choices.

        Raises:
            ConfigurationError: the pattern is not of this language, or matches an empty text.
        """
        if len(pattern) > LENGTH_LIMIT:
            raise ConfigurationError(f"has more than {LENGTH_LIMIT} characters", where=_KEY)
        measure = _Measure(pattern.removeprefix(_CASELESS))
        if measure.width > WIDTH_LIMIT or measure.choices > CHOICES_LIMIT:
            raise ConfigurationError("matches too long a text, or in too many ways", where=_KEY)
        try:
            expression = re.compile(pattern, re.ASCII)
        except (re.error, OverflowError) as error:
            raise ConfigurationError(f"is not a regular expression: {error}", where=_KEY) from error
        if expression.search(""):
            raise ConfigurationError(
                "matches an empty text, which would make every mail sensitive", where=_KEY
            )
        return cls(expression, measure.width, measure.digits)

    def found(self, text: str, folded: bytes) -> bool:
        """Whether the pattern matches somewhere; ``folded`` is ``text`` with a byte for each character."""
        if self.digits < _FEWEST_DIGITS:
            return self.expression.search(text) is not None
        # Runs of digits are found at memory speed; a match lies within ``width`` of its run.
        run = b"0" * self.digits
        skeleton = folded.translate(_DIGITS)
        position = skeleton.find(run)
        while position >= 0:
            # one character more than a match can reach, so that one that ends there was cut short
            end = position + 2 * self.width + 1
            match = self.expression.search(text, max(0, position - self.width), end)
            if match is not None and (match.end() < end or end >= len(text)):
                return True
            position = skeleton.find(run, position + self.width)
        return False


class _Measure:
    """Reads a pattern once: its greatest width, its choices, and the digits in a row that it must have."""

    def __init__(self, pattern: str) -> None:
        self.width = 0
        self.digits = 0
        self.choices = 1
        self._widest = 0  # of the branches before this one
        self._outer: list[tuple[int, int]] = []
        self._run = 0
        self._alternatives = False
        position = 0
        while position < len(pattern):
            token = _TOKEN.match(pattern, position)
            if token is None:
                raise ConfigurationError(
                    f"character {position + 1}, {pattern[position]}, is not allowed there; use characters, "
                    "classes, \\d, \\w, \\s, \\b, groups, |, ? and, not behind a group, {n} or {n,m}",
                    where=_KEY,
                )
            self._read(token)
            position = token.end()
        self.width = max(self.width, self._widest)
        if self._alternatives:
            self.digits = 0

    def _read(self, token: re.Match[str]) -> None:
        if token["zero"]:
            return
        if token["open"]:
            self._outer.append((self.width, self._widest))
            self.width = self._widest = self._run = 0
        elif token["close"]:
            width, widest = self._outer.pop() if self._outer else (0, 0)
            self.width, self._widest = width + max(self.width, self._widest), widest
            self.choices *= 2 if token["optional"] else 1
            self._run = 0
        elif token["bar"]:
            self._widest, self.width = max(self.width, self._widest), 0
            self.choices *= 2
            self._run = 0
            self._alternatives |= not self._outer
        else:
            least = 0 if token["maybe"] else int(token["least"] or 1)
            most = int(token["most"] or token["least"] or 1)
            self.width += most
            self.choices *= max(1, most - least + 1)
            self._run = self._run + least if token["digit"] else 0
            if not self._outer:
                self.digits = max(self.digits, self._run)
