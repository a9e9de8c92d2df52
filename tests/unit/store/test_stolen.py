"""What a thief can open (invariant 10): every secret that the store knows, tried on everything it keeps."""

import contextlib
import itertools
from functools import partial

import pytest
from sqlalchemy import LargeBinary, select

from nta_milter.errors import SealError
from nta_milter.store.keys import PrivateKeys, Token
from nta_milter.store.schema import metadata
from tests.unit.store.conftest import AT, CONTENT, LONG


@pytest.fixture(params=[CONTENT, LONG], ids=["row", "blob"])
def loot(request, store, make):
    """A message in the portal that its recipient has open in a browser; its database and blobs are stolen."""
    made = make("portal", content=request.param)
    token, attempt = made.deposited()
    store.outgoing.commit(attempt.id, AT)
    return made, token


def rows(store):
    """Every binary value and every text of every row."""
    found = []
    with store.database.reading() as connection:
        for table in metadata.sorted_tables:
            for row in connection.execute(select(table)).mappings():
                for column in table.columns:
                    value = row[column.name]
                    if isinstance(column.type, LargeBinary) and value:
                        found.append(bytes(value))
                    elif isinstance(value, str):
                        found.append(value.encode())
    return found


def opens(store, made, key: bytes) -> bool:
    try:
        with store.open(made.new.id, made.new.blobs[0].id, key) as content:
            return content.read().startswith(CONTENT)
    except SealError:
        return False


def candidates(values: list[bytes], length: int = 32) -> set[bytes]:
    """Everything of a key's length in what was stolen."""
    return {value[at : at + length] for value in values for at in range(len(value) - length + 1)}


def unwrapped(values, keys: list[PrivateKeys], tokens: list[Token], made) -> set[bytes]:
    """Every key that any of these private keys and tokens give from any stolen value."""
    recipients = [each.recipient for each in made.new.deliveries]
    attempts = [partial(key.open_worker, value, made.new.id, recipients) for value in values for key in keys]
    attempts += [
        partial(key.open_link, token, value, made.new.id)
        for value, key, token in itertools.product(values, keys, tokens)
    ]
    context = b"nta-milter message " + made.new.id.encode()
    attempts += [partial(token.unwrap, value, context) for value in values for token in tokens]
    found = set()
    for attempt in attempts:
        with contextlib.suppress(SealError):
            found.add(attempt())
    return found


def test_invariant_10_database_and_blobs_open_nothing(store, loot):
    made, _ = loot
    values = rows(store)
    assert not any(opens(store, made, key) for key in candidates(values))


def test_invariant_10_database_blobs_and_the_portals_key_open_nothing(store, loot, portal):
    made, _ = loot
    values = rows(store)
    guesses = [Token(value) for value in candidates(values)]
    assert unwrapped(values, [portal], guesses[:200], made) == set()


def test_invariant_10_a_link_alone_opens_nothing(store, loot):
    made, token = loot
    values = rows(store)
    assert unwrapped(values, [], [token], made) == set()
    assert not opens(store, made, token.secret)


def test_invariant_10_a_link_and_the_workers_key_without_the_database_are_no_key(store, loot, worker):
    made, token = loot
    assert unwrapped([], [worker], [token], made) == set()


def test_invariant_10_a_link_with_the_portals_key_and_the_database_opens_its_message(store, loot, portal):
    made, token = loot
    assert unwrapped(rows(store), [portal], [token], made) == {made.key}


def test_invariant_10_the_workers_key_with_the_database_opens_what_is_not_expired(store, loot, worker):
    made, _ = loot
    (key,) = unwrapped(rows(store), [worker], [], made)
    assert opens(store, made, key)
    store.access.delete(made.new.deliveries[0].id)
    store.retention.shred(made.new.id, AT)
    assert unwrapped(rows(store), [worker], [], made) == set()


def test_invariant_10_content_and_tokens_stand_nowhere_in_the_database(store, loot):
    made, token = loot
    text = b"\0".join(rows(store))
    for secret in (b"canary", made.key, token.secret, token.text.encode(), made.key.hex().encode()):
        assert secret not in text
