import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.errors import ConfigurationError
from nta_milter.portal.factors import phone


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("0612345678", "+31612345678"),
        ("06-12 34 56 78", "+31612345678"),
        ("+31 (0)6 12345678", "+31612345678"),
        ("0031612345678", "+31612345678"),
        ("+32 470 12 34 56", "+32470123456"),
    ],
)
def test_a_number_is_kept_as_e164(written, kept):
    assert phone.normal(written) == kept


@pytest.mark.parametrize(
    "written", ["", "12345678", "06", "+0612345678", "06123456789012345", "06 1234 5x78", "𝟎𝟔12345678"]
)
def test_what_is_no_number_is_refused(written):
    with pytest.raises(ConfigurationError, match="is not a telephone number"):
        phone.normal(written)


@given(st.text(alphabet="+0123456789 -()."))
def test_a_kept_number_stays_as_it_is(text):
    try:
        kept = phone.normal(text)
    except ConfigurationError:
        return
    assert phone.normal(kept) == kept
    assert kept[1:].isdecimal()
