"""Is a message sensitive, and why? Marks first, then the mode, then content; pure over frozen values.

A reason says where and what kind; it never quotes content, so that it may stand in a log. Its codes are
``mark-header``, ``mark-sensitivity``, ``mark-label``, ``mark-subject``, ``mark-thread``, ``mode-always``,
``rule-sensitive``, ``content-bsn``, ``content-patient-number``, ``content-word`` and
``content-unreadable``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from nta_milter.compliance.report import Reason
from nta_milter.config.model import PolicySettings
from nta_milter.errors import ConfigurationError
from nta_milter.message.address import address_list
from nta_milter.message.charset import decode_words
from nta_milter.message.headers import Headers
from nta_milter.message.mime import MESSAGE_TYPES, Part
from nta_milter.message.model import Message
from nta_milter.message.text import Limits, texts
from nta_milter.policy.content import ContentRules, WordList
from nta_milter.policy.marks import Marks
from nta_milter.policy.pattern import NumberPattern

REASON_LIMIT = 50
"""Most reasons that are given."""

WORD_FILE_LIMIT = 10_000_000
"""Largest word file, in bytes."""

_TEXT_FIELDS = ("Subject", "Comments", "Keywords", "Thread-Topic")
_ADDRESS_FIELDS = ("From", "Sender", "Reply-To", "To", "Cc")
_MAY_SHOW_DIGIT = re.compile(rb"[0-9]|=\?")
_WORDS_FOR = {
    "content-bsn": "a citizen service number",
    "content-patient-number": "a patient number",
    "content-word": "a word or phrase of the list",
}


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The judgement with the reasons for it; without any when the message is not sensitive."""

    value: bool
    reasons: tuple[Reason, ...] = ()

    @classmethod
    def by_rule(cls, name: str) -> Sensitivity:
        """Sensitive because a rule of that name says so."""
        return cls(True, (Reason("rule-sensitive", f"sensitive by the rule {name!r}"),))


@dataclass(frozen=True, slots=True)
class SensitivityRules:
    """The settings of one configuration, compiled once."""

    mode: Literal["always", "content", "marked"]
    marks: Marks
    content: ContentRules
    unreadable: bool
    limits: Limits

    @classmethod
    def compile(cls, settings: PolicySettings) -> SensitivityRules:
        """Compile patterns and read word files.

        Raises:
            ConfigurationError: patient_number is not of the language that is allowed, or a word file cannot
                be read.
        """
        words = [*settings.words]
        for path in settings.word_files:
            words.extend(_word_file(path))
        pattern = NumberPattern.compile(settings.patient_number) if settings.patient_number else None
        return cls(
            settings.mode,
            Marks.compile(settings),
            ContentRules(settings.bsn, pattern, WordList.compile(words)),
            settings.unreadable == "sensitive",
            Limits(
                text=settings.text_limit, part_limit=settings.part_limit, depth_limit=settings.depth_limit
            ),
        )


def judge(
    message: Message, part: Part, rules: SensitivityRules, *, to_outside: bool, every: bool = False
) -> Sensitivity:
    """Whether a message is sensitive; ``part`` is what ``parse`` made of it.

    Stops at the first reason, or collects them all with ``every``. ``to_outside`` says that somebody
    outside gets it: only then an attachment that cannot be read counts.
    """
    found = _reasons(message, part, rules, to_outside)
    reasons = tuple(dict.fromkeys(islice(found, REASON_LIMIT if every else 1)))
    return Sensitivity(bool(reasons), reasons)


def without_tags(headers: Headers, rules: SensitivityRules) -> Headers:
    """The fields without what only marks a message for us; the same object if there is nothing."""
    return rules.marks.without_tags(headers)


def _reasons(message: Message, part: Part, rules: SensitivityRules, to_outside: bool) -> Iterator[Reason]:
    yield from rules.marks.find(message.headers)
    for inner in part.walk():
        if inner.content_type in MESSAGE_TYPES and inner.children:
            for reason in rules.marks.find(inner.children[0].headers):
                yield Reason(reason.code, f"an attached message is {reason.text}")
    if rules.mode == "always":
        yield Reason("mode-always", "every message is sensitive here (policy.mode)")
    if rules.mode == "content":
        yield from _content_reasons(message, part, rules, to_outside)


def _content_reasons(
    message: Message, part: Part, rules: SensitivityRules, to_outside: bool
) -> Iterator[Reason]:
    for name in _TEXT_FIELDS:
        for field in message.headers.all(name):
            yield from _kinds(rules, decode_words(field.value), name)
    for name in _ADDRESS_FIELDS:
        # A department may be named by a word of the list, and writes about other things too: numbers alone
        # count, and most names have no digit.
        values = [field.value for field in message.headers.all(name)]
        if rules.content.numbers_have_digits and not any(map(_MAY_SHOW_DIGIT.search, values)):
            continue
        names = address_list(values)
        displayed = "\n".join((*names.groups, *(mailbox.display for mailbox in names.mailboxes)))
        for reason in _kinds(rules, displayed, name):
            if reason.code != "content-word":
                yield reason
    for extract in texts(part, message.body, rules.limits):
        if extract.text:
            yield from _kinds(rules, extract.text, extract.where)
        if extract.unreadable and to_outside and rules.unreadable:
            yield Reason("content-unreadable", f"{extract.where} cannot be read: {extract.unreadable}")


def _kinds(rules: SensitivityRules, text: str, where: str) -> Iterator[Reason]:
    for code in rules.content.kinds(text):
        yield Reason(code, f"{_WORDS_FOR[code]} in {where}")


def _word_file(path: Path) -> Iterator[str]:
    try:
        if path.stat().st_size > WORD_FILE_LIMIT:
            raise ConfigurationError(f"is larger than {WORD_FILE_LIMIT} bytes", where=str(path))
        lines = path.read_text("utf-8-sig").splitlines()
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"is not UTF-8 (byte {error.start})", where=str(path)) from error
    for line in lines:
        word = line.partition("#")[0].strip()
        if word:
            yield word
