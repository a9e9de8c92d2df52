import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.config.model import RuleSettings
from nta_milter.policy.rules import fits, match


@pytest.mark.parametrize(
    ("pattern", "address", "fitting"),
    [
        ("*", "a@care.test", True),
        ("*", "", True),
        ("Nurse@Care.test", "nurse@cARE.TEST", True),
        ("@care.test", "anybody@care.test", True),
        ("@care.test", "a@sub.care.test", False),
        ("@care.test", "a@notcare.test", False),
        ("nurse@care.test", "anurse@care.test", False),
        ("nurse@care.test", "nurse@care.test.example.test", False),
        ("@care.test", "", False),
        ("@care.test", "care.test", False),
        ("@zorg-é.test", "a@xn--zorg--fsa.test", True),
        ("n.rse@care.test", "nurse@care.test", False),
        ("", "", False),
    ],
)
def test_patterns_fit_whole_addresses(pattern: str, address: str, fitting: bool) -> None:
    assert fits(pattern, address) is fitting


def test_the_first_rule_that_fits_both_sides() -> None:
    rules = (
        RuleSettings(name="one", sender="doctor@care.test", recipient="@citizen.test"),
        RuleSettings(name="two", recipient="@citizen.test"),
        RuleSettings(name="three"),
    )
    for sender, recipient, name in (
        ("doctor@care.test", "jan@citizen.test", "one"),
        ("nurse@care.test", "jan@citizen.test", "two"),
        ("", "nurse@hospital.test", "three"),
    ):
        found = match(rules, sender, recipient)
        assert found is not None
        assert found.name == name
    assert match(rules[:2], "nurse@care.test", "nurse@hospital.test") is None


@given(st.text(), st.text())
def test_any_text(pattern: str, address: str) -> None:
    assert fits(pattern, address) in (True, False)
