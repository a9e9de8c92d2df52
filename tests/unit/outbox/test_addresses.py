import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.outbox import addresses

ID = "0123456789abcdef" * 2


def test_each_address_gives_its_id_back(settings):
    assert addresses.commit_id(addresses.commit_address(ID)) == ID
    assert addresses.bounced_id(addresses.bounce_address(ID, settings)) == ID
    assert addresses.replied_id(addresses.reply_address(ID, settings)) == ID
    assert addresses.bounced_id(f"NTA-Bounce+{ID.upper()}@Care.test") == ID


@pytest.mark.parametrize(
    "address",
    [
        f"commit+{ID}@nta.invalid.example",
        f"commit+{ID.upper()}@nta.invalid",
        f"commit+{ID[1:]}@nta.invalid",
        f"x-commit+{ID}@nta.invalid",
        f"nta-bounce+{ID}@",
        f"nta-bounce+{ID}x@care.test",
        f"nta-bounce+{ID}@a@b",
        f"commit+{ID}@nta.invalid\n",
        "",
    ],
)
def test_no_other_address_has_one(address):
    assert addresses.commit_id(address) is None
    assert addresses.bounced_id(address) is None
    assert addresses.replied_id(address) is None


@given(st.text())
def test_any_text_is_an_address_of_ours_or_none(text):
    for identify in (addresses.commit_id, addresses.bounced_id, addresses.replied_id):
        found = identify(text)
        assert found is None or (len(found) == 32 and found in text.lower())
