"""What a thief has of each thing that he can carry away, from a store that the real milter has filled.

He knows our program. He tries every secret that he finds, in every place that takes one.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import re
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nta_milter.errors import SealError
from nta_milter.portal.session import _context as session_context
from nta_milter.store import sealed
from nta_milter.store.blobs import BytesBlob
from nta_milter.store.keys import PrivateKeys, Token, blob_context
from tests.laboratory import Laboratory
from tests.laboratory.messages import Mail, sensitive
from tests.laboratory.scenarios.apart import EVERYBODY, come_to_rest, letter, longer
from tests.laboratory.scenarios.download import CODE, notified, opened_by_code
from tests.laboratory.scenarios.failures import shredded
from tests.laboratory.scenarios.proof import DOCTOR, JAN, accepted, submit

WORKER_KEY = "worker-key"
PORTAL_KEY = "portal-key"


@dataclass(frozen=True)
class Loot:
    """A folder of stolen files, and links that were read in stolen mail."""

    folder: Path
    links: tuple[str, ...] = ()

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        database = self.folder / "store.sqlite"
        if not database.exists():
            return []
        connection = sqlite3.connect(database)
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()

    def values(self) -> Iterator[bytes]:
        """Every value in the database, as it stands and decoded."""
        for (table,) in self.rows("SELECT name FROM sqlite_master WHERE type = 'table'"):
            for value in itertools.chain.from_iterable(self.rows(f"SELECT * FROM {table}")):
                raw = value if isinstance(value, bytes) else str(value).encode()
                yield raw
                if re.fullmatch(rb"(?:[0-9a-f]{2})+", raw):
                    yield bytes.fromhex(raw.decode())

    def private_keys(self) -> list[PrivateKeys]:
        files = [self.folder / name for name in (PORTAL_KEY, WORKER_KEY)]
        return [PrivateKeys.parse(file.read_bytes(), file.name) for file in files if file.exists()]

    def opened(self) -> list[bytes]:
        """The content of every blob and row that any key found here opens."""
        keys = self.message_keys()
        found = []
        for (message_id, name, source), key in itertools.product(self.sealed(), keys):
            with contextlib.suppress(SealError):
                reader = sealed.SealedReader(source, key, blob_context(message_id, name))
                found.append(b"".join(reader.pieces()))
        return found

    def sealed(self) -> list[tuple[str, str, BytesBlob]]:
        """All sealed content, with the ids of its message and its own."""
        rows = self.rows("SELECT message_id, id, content FROM blobs")
        known = {str(name): str(message_id) for message_id, name, _ in rows}
        found = {str(name): content for _, name, content in rows if isinstance(content, bytes)}
        files = (path for path in (self.folder / "blobs").rglob("*") if path.is_file())
        found.update((path.name, path.read_bytes()) for path in files)
        return [(known.get(name, "0" * 32), name, BytesBlob(content)) for name, content in found.items()]

    def message_keys(self) -> set[bytes]:
        """Everything that could be the key of a message."""
        values = set(self.values())
        tokens = [Token.parse(link.rpartition("/")[2]) for link in self.links]
        tokens += [Token(value) for value in values if len(value) == 32]
        known = [token for token in tokens if token]
        found = {value for value in values if len(value) == 32}
        messages: dict[str, set[str]] = {str(row[0]): set() for row in self.rows("SELECT id FROM messages")}
        for message_id, recipient in self.rows("SELECT message_id, recipient FROM deliveries"):
            messages[str(message_id)].add(str(recipient))
        deliveries = {str(row[0]) for row in self.rows("SELECT id FROM deliveries")}
        wraps = {value for value in values if len(value) > 32}
        for wrap in wraps:
            for (message_id, recipients), keys in itertools.product(messages.items(), self.private_keys()):
                found |= _keys_of(wrap, message_id, recipients, keys, known)
            for delivery_id, token in itertools.product(deliveries, known):
                found |= _unwrapped(token, wrap, session_context(delivery_id))
            for message_id, token in itertools.product(messages, known):
                found |= _unwrapped(token, wrap, b"nta-milter message " + message_id.encode())
        return found


def _keys_of(
    wrap: bytes, message_id: str, recipients: set[str], keys: PrivateKeys, tokens: list[Token]
) -> set[bytes]:
    found = set()
    with contextlib.suppress(SealError):
        found.add(keys.open_worker(wrap, message_id, recipients))
    for token in tokens:
        try:
            found.add(keys.open_link(token, wrap, message_id))
        except SealError:
            continue
    return found


def _unwrapped(token: Token, wrap: bytes, context: bytes) -> set[bytes]:
    try:
        return {token.unwrap(wrap, context)}
    except SealError:
        return set()


@dataclass(frozen=True)
class House:
    """Where it was stolen: the laboratory, the mails in its store, and a recipient's link."""

    laboratory: Laboratory
    mails: tuple[Mail, ...]
    link: str

    def stolen(self, folder: Path, *things: str) -> Loot:
        """Copies of these: ``database``, ``blobs``, a private key by its name, ``link``."""
        stored = self.laboratory.stored
        folder.mkdir()
        (folder / "blobs").mkdir()
        for thing in things:
            if thing == "database":
                for file in stored.database.parent.glob("store.sqlite*"):
                    shutil.copy(file, folder)
            elif thing == "blobs":
                shutil.copytree(stored.blobs, folder / "blobs", dirs_exist_ok=True)
            elif thing != "link":
                shutil.copy(stored.secrets / thing, folder)
        return Loot(folder, (self.link,) if "link" in things else ())

    def canaries(self) -> list[str]:
        return [canary for mail in self.mails for canary in mail.canaries.values()]


@pytest.fixture
def house(portal: Laboratory) -> House:
    """One message that was deposited in place, one for everybody, some of whose copies wait; and a visit."""
    portal.agree(JAN, CODE)
    portal.postfix["care"].set(defer_transports="nta, nta-inside")
    first, second = sensitive(DOCTOR, JAN), longer(letter())
    accepted(submit(portal, first, JAN))
    link = notified(portal, "mx.citizen", JAN, first)
    opened_by_code(portal.browser(), link)
    accepted(submit(portal, second, *EVERYBODY))
    portal.wait_for(portal.stored.at_rest, "rest", pause=0.1)
    return House(portal, (first, second), link)


GOODS = ("database", "blobs", PORTAL_KEY)
TOGETHER = [set_ for number in (1, 2, 3) for set_ in itertools.combinations(GOODS, number)]


@pytest.mark.parametrize(
    "things", [*TOGETHER, ("link",), ("link", "database", "blobs"), ("link", PORTAL_KEY)]
)
def test_invariant_10_stolen_goods_open_nothing(
    house: House, tmp_path: Path, things: tuple[str, ...]
) -> None:
    loot = house.stolen(tmp_path / "loot", *things)
    assert loot.opened() == []
    for file in (path for path in loot.folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        for canary in house.canaries():
            for form in (canary.encode(), base64.b64encode(canary.encode())[:-4], canary.encode("utf-16-le")):
                assert form not in content, f"{file.name} shows {canary}"


def test_invariant_10_a_link_alone_opens_nothing(house: House) -> None:
    browser = house.laboratory.browser()
    page = browser.get(house.link)
    assert not any(canary in page.body.decode() for canary in house.canaries())
    path = browser.path(house.link)
    for code in ("", "tulp-fiets-59", "12345678"):
        answer = browser.request("POST", path, f"code={code}".encode(), "application/x-www-form-urlencoded")
        assert answer.status in (400, 403)
        assert not any(canary in answer.body.decode() for canary in house.canaries())
    assert browser.cookies == {}
    delivery = house.laboratory.stored.rows("SELECT id FROM deliveries LIMIT 1")[0][0]
    assert browser.request("GET", f"/message/{delivery}").status == 403


def test_the_worker_key_and_the_store_open_what_has_not_expired(house: House, tmp_path: Path) -> None:
    """What the README says of this key; and that this test's thief can open at all."""
    loot = house.stolen(tmp_path / "loot", "database", "blobs", WORKER_KEY)
    contents = loot.opened()
    for mail in house.mails:
        assert any(content.endswith(mail.body) for content in contents)


def test_a_link_opens_its_message_where_portal_key_and_store_are_stolen_too(
    house: House, tmp_path: Path
) -> None:
    contents = house.stolen(tmp_path / "loot", "database", "blobs", PORTAL_KEY, "link").opened()
    assert [content.endswith(house.mails[0].body) for content in contents] == [True]


def test_invariant_10_what_has_expired_opens_for_nobody(house: House, tmp_path: Path) -> None:
    stored, portal = house.laboratory.stored, house.laboratory
    assert {bool(content) for (content,) in stored.rows("SELECT content FROM blobs")} == {True, False}
    wraps = [row[0] for row in stored.rows("SELECT worker_wrap FROM messages")]
    seals = [row[0] for row in stored.rows("SELECT sealed FROM links WHERE purpose = 'open'")]
    kept = [row[0][:100] for row in stored.rows("SELECT content FROM blobs WHERE content IS NOT NULL")]
    assert wraps
    assert seals
    assert kept
    portal.postfix["care"].set(defer_transports="")
    portal.flush()
    come_to_rest(portal)
    stored.change("UPDATE messages SET expires_at = 0")
    shredded(portal)
    loot = house.stolen(tmp_path / "loot", "database", "blobs", PORTAL_KEY, WORKER_KEY, "link")
    assert loot.opened() == []
    for file in loot.folder.glob("store.sqlite*"):
        content = file.read_bytes()
        assert not any(each in content for each in [*wraps, *seals, *kept]), f"{file.name} still has it"
