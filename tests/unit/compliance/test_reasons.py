import re
from pathlib import Path

import pytest

from nta_milter.compliance.codes import Code, Kind
from nta_milter.compliance.explanations import EXPLANATIONS
from nta_milter.compliance.reasons import DETAIL_LIMIT, explanation, plain, reason

DOCUMENT = Path(__file__).resolve().parents[3] / "packaging" / "doc" / "reasons.md"
SECTION = re.compile(
    r"^## (?P<code>[a-z-]+)\n\n(?P<kind>Refusal|Unknown|Remark): (?P<sentence>.+)\.\n\n"
    r"\* Why it matters: (?P<why>.+)\n\* How to mend it: (?P<mend>.+)\.$",
    re.MULTILINE,
)


def test_the_document_says_what_the_code_says():
    documented = {each["code"]: each.groupdict() for each in SECTION.finditer(DOCUMENT.read_text())}
    existing = {
        code.value: {
            "code": code.value,
            "kind": each.kind.value.capitalize(),
            "sentence": each.sentence,
            "why": each.why,
            "mend": each.mend,
        }
        for code, each in EXPLANATIONS.items()
    }
    assert documented == existing
    assert DOCUMENT.read_text().count("\n## ") == len(existing)


def test_every_code_is_explained():
    assert set(EXPLANATIONS) == set(Code)


@pytest.mark.parametrize("code", Code)
def test_a_reason_leads_back_to_its_explanation(code):
    assert explanation(reason(code)) is EXPLANATIONS[code]
    assert reason(code).code == code.value
    assert reason(code, "detail").text == f"{EXPLANATIONS[code].sentence}: detail"


def test_the_words_of_others_are_made_safe_and_short():
    assert plain("a\r\nb\x1b[31m\x00é") == "a??b?[31m?é"
    assert plain("x" * 5000) == "x" * DETAIL_LIMIT + "…"
    assert plain("x" * DETAIL_LIMIT) == "x" * DETAIL_LIMIT


def test_only_what_a_failed_look_up_leaves_open_is_unknown():
    unknown = {code.value for code, each in EXPLANATIONS.items() if each.kind is Kind.UNKNOWN}
    assert unknown == {
        "resolver-not-proven",
        "deadline",
        "record-unknown",
        "mx-unknown",
        "hosts-unknown",
        "address-unknown",
        "tlsa-unknown",
        "own-unknown",
    }
