"""Records, good, odd and hostile, each with the reasons that it must be given.

A row is a name, the TXT records of a domain (each a string or bytes, already joined), the codes expected,
and whether a record is believed. The real resolver serves the same rows in tests/integration/compliance.
"""

from __future__ import annotations

from dataclasses import dataclass

GOOD = "v=NTA7516-1;startdate=2026-01;enddate=2028-12;provider=Example;ntamx=10 nta.hospital.test"
DATES = "startdate=2026-01;enddate=2028-12"
START = f"v=NTA7516-1;{DATES};provider=Example"
LONG_LABEL = "a" * 64
LONG_HOST = ".".join(["a" * 60] * 5) + ".test"


@dataclass(frozen=True)
class Row:
    name: str
    texts: tuple[bytes, ...]
    codes: tuple[str, ...]
    believed: bool


def row(name: str, texts: str | bytes | tuple[str | bytes, ...], *codes: str, believed: bool = False) -> Row:
    several = texts if isinstance(texts, tuple) else (texts,)
    plain = tuple(each.encode() if isinstance(each, str) else each for each in several)
    return Row(name, plain, codes, believed)


def good(name: str, texts: str | bytes | tuple[str | bytes, ...], *codes: str) -> Row:
    return row(name, texts, *codes, believed=True)


def ntamx(value: str) -> str:
    return f"{START};ntamx={value}"


ROWS = (
    # What is accepted, and how it may be written.
    good("plain", GOOD),
    good("last-semicolon", GOOD + ";"),
    good("empty-fields", GOOD.replace(";", ";;")),
    good("blanks-outside", f"  {GOOD}\t "),
    good("quotes-outside", f'"{GOOD}"'),
    good("quotes-and-blanks", f' " {GOOD} " '),
    good("blanks-around-fields", GOOD.replace(";", " ; ")),
    good("blanks-around-equals", GOOD.replace("=", " = ").replace("v = ", "v=")),
    good("tab-in-ntamx", ntamx("10\tnta.hospital.test")),
    good("many-blanks-in-ntamx", ntamx("10     nta.hospital.test")),
    good("uppercase", GOOD.upper()),
    good("mixed-case-keys", "V=nta7516-1;StartDate=2026-01;ENDdate=2028-12;Provider=X;NtaMX=1 a.test"),
    good("colons", f"v=NTA7516-1;{DATES.replace('=', ':')};provider:Example;ntamx:10 nta.hospital.test"),
    good("mixed-separators", f"{START};ntamx:10 nta.hospital.test"),
    good("no-ntamx", START),
    good("two-ntamx", f"{START};ntamx=20 b.hospital.test;ntamx=10 a.hospital.test"),
    good("twenty-ntamx", START + "".join(f";ntamx={n} h{n}.test" for n in range(20))),
    good("preference-zero", ntamx("0 nta.hospital.test")),
    good("preference-highest", ntamx("65535 nta.hospital.test")),
    good("preference-leading-zero", ntamx("00010 nta.hospital.test")),
    good("a-label", ntamx("10 xn--bcher-kva.test")),
    good("host-with-hyphens", ntamx("10 nta-mx-1.zorg-groep.test")),
    good("host-with-digits", ntamx("10 1.2.3.test")),
    good("one-month", "v=NTA7516-1;startdate=2026-11;enddate=2026-11;provider=X"),
    good("far-end", "v=NTA7516-1;startdate=2026-11;enddate=9999-12;provider=X"),
    good("long-ago", "v=NTA7516-1;startdate=0001-01;enddate=2028-12;provider=X"),
    good("order-of-fields", "v=NTA7516-1;ntamx=10 a.test;provider=X;enddate=2028-12;startdate=2026-01"),
    good("provider-with-separators", f"v=NTA7516-1;{DATES};provider=a=b:c"),
    good("provider-utf-8", f"v=NTA7516-1;{DATES};provider=Zörg"),
    good("no-provider", f"v=NTA7516-1;{DATES}", "provider-missing"),
    good("empty-provider", f"v=NTA7516-1;{DATES};provider=", "provider-missing"),
    good("unknown-field", f"{START};colour=blue", "field-unknown"),
    good("unknown-flag", f"{START};secure", "field-unknown"),
    good("unknown-empty-key", f"{START};=blue", "field-unknown"),
    good("unknown-fields-once-each", f"{START};a=1;a=2;b=1", "field-unknown", "field-unknown"),
    good("same-host-twice", f"{START};ntamx=20 a.test;ntamx=10 A.test", "ntamx-duplicate"),
    good("same-record-twice", (GOOD, GOOD)),
    good("same-record-written-otherwise", (GOOD, GOOD.upper().replace("EXAMPLE", "Example"))),
    good("with-spf", (GOOD, "v=spf1 -all", "google-site-verification=x")),
    good("with-draft", (GOOD, "v=NTA7516;version:2019-06"), "record-ignored"),
    good("with-next-version", (GOOD, "v=NTA7516-2;anything"), "record-ignored"),
    # No record, or another kind.
    row("nothing", (), "record-absent"),
    row("empty", "", "record-absent"),
    row("only-spf", "v=spf1 -all", "record-absent"),
    row("quote-alone", '"', "record-absent"),
    row("no-version-field", GOOD.removeprefix("v=NTA7516-1;"), "record-absent"),
    row("version-not-first", f"{DATES};v=NTA7516-1", "record-absent", "record-unrecognised"),
    row("blank-in-version-field", GOOD.replace("v=", "v ="), "record-absent", "record-unrecognised"),
    row("colon-in-version-field", GOOD.replace("v=", "v:"), "record-absent", "record-unrecognised"),
    row("two-pairs-of-quotes", f'""{GOOD}""', "record-absent", "record-unrecognised"),
    row("single-quotes", f"'{GOOD}'", "record-absent", "record-unrecognised"),
    row("byte-order-mark", "\ufeff" + GOOD, "record-absent", "record-unrecognised"),
    row("prefix-of-nothing", "v=NTA751", "record-absent"),
    row("draft", "v=NTA7516;version:2019-06;expire:2019-10;provider:x;ntamx:mx.example", "record-draft"),
    row("draft-bare", "v=NTA7516", "record-draft"),
    row("draft-blank", "v=NTA7516 ;version:2019-06", "record-draft"),
    row("future", "v=NTA7516-2;startdate=2026-01", "record-version-unsupported"),
    row("far-future", "v=NTA7516-999", "record-version-unsupported"),
    row("version-zero", "v=NTA7516-0;", "record-version-unsupported"),
    row("version-01", GOOD.replace("7516-1", "7516-01"), "record-version-unsupported"),
    row("version-11", GOOD.replace("7516-1", "7516-11"), "record-version-unsupported"),
    row("version-word", GOOD.replace("7516-1", "7516-one"), "record-version-malformed"),
    row("version-dash", GOOD.replace("7516-1", "7516-"), "record-version-malformed"),
    row("version-blank-inside", GOOD.replace("7516-1", "7516 -1"), "record-version-malformed"),
    row("version-without-dash", GOOD.replace("7516-1", "75161"), "record-version-malformed"),
    row("version-negative", GOOD.replace("7516-1", "7516--1"), "record-version-malformed"),
    row("version-other-digit", GOOD.replace("7516-1", "7516-\u0661"), "record-version-malformed"),
    row("comma-for-semicolon", GOOD.replace(";", ","), "record-version-malformed"),
    # Dates.
    row("version-only", "v=NTA7516-1", "startdate-missing", "enddate-missing", "provider-missing"),
    row("no-startdate", "v=NTA7516-1;enddate=2028-12;provider=X", "startdate-missing"),
    row("no-enddate", "v=NTA7516-1;startdate=2026-01;provider=X", "enddate-missing"),
    row("empty-startdate", START.replace("2026-01", ""), "startdate-malformed"),
    row("startdate-without-separator", START.replace("startdate=", "startdate "), "startdate-missing",
        "field-unknown"),
    row("month-13", START.replace("2026-01", "2026-13"), "startdate-malformed"),
    row("month-0", START.replace("2028-12", "2028-00"), "enddate-malformed"),
    row("year-0000", START.replace("2026-01", "0000-01"), "startdate-malformed"),
    row("year-5-digits", START.replace("2028-12", "12028-12"), "enddate-malformed"),
    row("year-2-digits", START.replace("2026-01", "26-01"), "startdate-malformed"),
    row("month-1-digit", START.replace("2026-01", "2026-1"), "startdate-malformed"),
    row("with-day", START.replace("2026-01", "2026-01-01"), "startdate-malformed"),
    row("slash", START.replace("2026-01", "2026/01"), "startdate-malformed"),
    row("month-word", START.replace("2026-01", "2026-jan"), "startdate-malformed"),
    row("other-digits", START.replace("2026-01", "２０２６-01"), "startdate-malformed"),
    row("negative-year", START.replace("2026-01", "-026-01"), "startdate-malformed"),
    row("date-quoted", START.replace("2026-01", '"2026-01"'), "startdate-malformed"),
    row("reversed", "v=NTA7516-1;startdate=2028-12;enddate=2026-01;provider=X", "dates-reversed"),
    row("startdate-twice", f"{START};startdate=2026-01", "startdate-duplicate"),
    row("enddate-twice", f"{START};enddate=2029-12", "enddate-duplicate"),
    row("provider-twice", f"{START};provider=Other", "provider-duplicate"),
    row("everything-twice", f"{START};{DATES};provider=Example", "startdate-duplicate", "enddate-duplicate",
        "provider-duplicate"),
    # ntamx.
    row("ntamx-empty", ntamx(""), "ntamx-malformed"),
    row("ntamx-no-separator", f"{START};ntamx 10 a.test", "ntamx-malformed"),
    row("ntamx-bare", f"{START};ntamx", "ntamx-malformed"),
    row("ntamx-no-preference", ntamx("nta.hospital.test"), "ntamx-malformed"),
    row("ntamx-no-host", ntamx("10"), "ntamx-malformed"),
    row("ntamx-no-blank", ntamx("10nta.hospital.test"), "ntamx-malformed"),
    row("ntamx-preference-65536", ntamx("65536 nta.hospital.test"), "ntamx-malformed"),
    row("ntamx-preference-huge", ntamx("9" * 400 + " nta.hospital.test"), "ntamx-malformed"),
    row("ntamx-preference-negative", ntamx("-1 nta.hospital.test"), "ntamx-malformed"),
    row("ntamx-preference-plus", ntamx("+1 nta.hospital.test"), "ntamx-malformed"),
    row("ntamx-preference-word", ntamx("ten nta.hospital.test"), "ntamx-malformed"),
    row("ntamx-preference-last", ntamx("nta.hospital.test 10"), "ntamx-malformed"),
    row("ntamx-other-digits", ntamx("１０ nta.hospital.test"), "ntamx-malformed"),
    row("ntamx-two-hosts", ntamx("10 a.test b.test"), "ntamx-malformed"),
    row("ntamx-comma", ntamx("10 a.test, 20 b.test"), "ntamx-malformed"),
    row("ntamx-misspelt-dash", f"{START};nta-mx=10 a.test", "ntamx-malformed"),
    row("ntamx-misspelt-number", f"{START};ntamx1=10 a.test", "ntamx-malformed"),
    row("ntamx-misspelt-turned", f"{START};natmx=10 a.test", "ntamx-malformed"),
    row("mx", f"{START};mx=10 a.test", "ntamx-malformed"),
    row("ntamx-one-bad-of-two", f"{START};ntamx=10 a.test;ntamx=20", "ntamx-malformed"),
    row("ntamx-trailing-dot", ntamx("10 nta.hospital.test."), "ntamx-host-invalid"),
    row("ntamx-leading-dot", ntamx("10 .hospital.test"), "ntamx-host-invalid"),
    row("ntamx-two-dots", ntamx("10 nta..hospital.test"), "ntamx-host-invalid"),
    row("ntamx-root", ntamx("10 ."), "ntamx-host-invalid"),
    row("ntamx-one-label", ntamx("10 localhost"), "ntamx-host-invalid"),
    row("ntamx-ipv4", ntamx("10 192.0.2.1"), "ntamx-host-invalid"),
    row("ntamx-ipv4-literal", ntamx("10 [192.0.2.1]"), "ntamx-host-invalid"),
    row("ntamx-ipv6", ntamx("10 2001:db8::1"), "ntamx-host-invalid"),
    row("ntamx-port", ntamx("10 nta.hospital.test:2525"), "ntamx-host-invalid"),
    row("ntamx-brackets", ntamx("10 [nta.hospital.test]"), "ntamx-host-invalid"),
    row("ntamx-underscore", ntamx("10 nta_mx.hospital.test"), "ntamx-host-invalid"),
    row("ntamx-wildcard", ntamx("10 *.hospital.test"), "ntamx-host-invalid"),
    row("ntamx-slash", ntamx("10 unix:/run/socket"), "ntamx-host-invalid"),
    row("ntamx-at", ntamx("10 a@hospital.test"), "ntamx-host-invalid"),
    row("ntamx-dollar", ntamx("10 $1.hospital.test"), "ntamx-host-invalid"),
    row("ntamx-percent", ntamx("10 %d.hospital.test"), "ntamx-host-invalid"),
    row("ntamx-quoted", ntamx('10 "nta.hospital.test"'), "ntamx-host-invalid"),
    row("ntamx-hyphen-first", ntamx("10 -nta.hospital.test"), "ntamx-host-invalid"),
    row("ntamx-hyphen-last", ntamx("10 nta-.hospital.test"), "ntamx-host-invalid"),
    row("ntamx-numeric-top", ntamx("10 nta.hospital.123"), "ntamx-host-invalid"),
    row("ntamx-long-label", ntamx(f"10 {LONG_LABEL}.test"), "ntamx-host-invalid"),
    row("ntamx-long-host", ntamx(f"10 {LONG_HOST}"), "ntamx-host-invalid"),
    row("ntamx-u-label", ntamx("10 bücher.test"), "ntamx-host-invalid"),
    row("ntamx-dotted-i", ntamx("10 \u0130.test"), "ntamx-host-invalid"),
    row("ntamx-kelvin-sign", ntamx("10 \u212a.test"), "ntamx-host-invalid"),
    row("ntamx-ideographic-dot", ntamx("10 nta\u3002test"), "ntamx-host-invalid"),
    row("ntamx-21", START + "".join(f";ntamx={n} h{n}.test" for n in range(21)), "ntamx-too-many"),
    row("ntamx-500", START + "".join(f";ntamx={n} h{n}.test" for n in range(500)), "record-too-long"),
    # Bytes.
    row("four-kilobytes", START + ";x=" + "y" * 4000, "record-too-long"),
    row("sixty-kilobytes", START + ";x=" + "y" * 60000, "record-too-long"),
    row("just-too-long", START + ";x=" + "y" * (2049 - len(START) - 3), "record-too-long"),
    good("just-fits", START + ";x=" + "y" * (2048 - len(START) - 3), "field-unknown"),
    row("nul", GOOD + "\0", "record-not-text"),
    row("nul-in-host", ntamx("10 nta\0.hospital.test"), "record-not-text"),
    row("line-break", GOOD.replace(";", ";\n"), "record-not-text"),
    row("carriage-return", ntamx("10 nta.hospital.test\r"), "record-not-text"),
    row("escape", START.replace("Example", "\x1b[31mred"), "record-not-text"),
    row("delete", START.replace("Example", "a\x7fb"), "record-not-text"),
    row("right-to-left", START.replace("Example", "a\u202eb"), "record-not-text"),
    row("zero-width", START.replace("Example", "a\u200bb"), "record-not-text"),
    row("no-break-space", START.replace("Example", "a\u00a0b"), "record-not-text"),
    row("latin-1", GOOD.replace("Example", "Zörg").encode("latin-1"), "record-not-text"),
    row("utf-16", GOOD.encode("utf-16-le"), "record-absent"),
    row("overlong-utf-8", GOOD.encode().replace(b"Example", b"\xc0\xaf"), "record-not-text"),
    # Several.
    row("two-providers", (GOOD, GOOD.replace("Example", "Other")), "record-ambiguous"),
    row("two-periods", (GOOD, GOOD.replace("2028", "2029")), "record-ambiguous"),
    row("good-and-malformed", (GOOD, ntamx("10")), "record-ambiguous"),
    row("two-malformed", (ntamx("10"), ntamx("20")), "record-ambiguous"),
    row("same-malformed-twice", (ntamx("10"), ntamx("10")), "ntamx-malformed"),
    row("three-records", (GOOD, START, ntamx("20 b.test")), "record-ambiguous"),
    row("draft-and-future", ("v=NTA7516", "v=NTA7516-2"), "record-draft", "record-version-unsupported"),
    row("ambiguous-and-draft", (GOOD, START, "v=NTA7516"), "record-ambiguous", "record-ignored"),
)  # fmt: skip
