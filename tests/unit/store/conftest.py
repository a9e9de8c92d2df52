import secrets
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import text

from nta_milter.store.blobs import FileBlobs
from nta_milter.store.database import Database
from nta_milter.store.keys import PrivateKeys, PublicKeys, Token, new_id, new_message_key
from nta_milter.store.migrations import migrate
from nta_milter.store.rows import Attempt, NewDelivery, NewLink, NewMessage
from nta_milter.store.schema import metadata, schema_version
from nta_milter.store.store import IN_ROW, Store
from tests.laboratory import postgresql

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
"""When the tests begin."""
CONTENT = b"Subject: secret\r\n\r\ncanary-4711\r\n"
LONG = CONTENT + bytes(IN_ROW)
"""Too long for a row."""


@pytest.fixture(scope="session")
def server():
    with postgresql.cluster() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """The URL of a new and empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/store.sqlite"
    else:
        server = request.getfixturevalue("server")
        with postgresql.database(server, f"nta_{secrets.token_hex(6)}") as found:
            yield found


@pytest.fixture(scope="session")
def _postgresql(server):
    with postgresql.database(server, "nta_shared") as url:
        opened = Database(url)
        migrate(opened)
        yield opened
        opened.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    """An empty database with its tables."""
    if request.param == "sqlite":
        opened = Database(f"sqlite:///{tmp_path}/store.sqlite")
        migrate(opened)
        yield opened
        opened.close()
    else:
        opened = request.getfixturevalue("_postgresql")
        names = ", ".join(table.name for table in metadata.sorted_tables if table is not schema_version)
        with opened.transaction() as connection:
            connection.execute(text(f"TRUNCATE {names}"))
        yield opened


@pytest.fixture(scope="session")
def private():
    return {name: X25519PrivateKey.generate() for name in ("portal", "worker")}


@pytest.fixture
def portal(private):
    return PrivateKeys([private["portal"]])


@pytest.fixture
def worker(private):
    return PrivateKeys([private["worker"]])


@pytest.fixture
def store(database, private, tmp_path):
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    public = PublicKeys(private["portal"].public_key(), private["worker"].public_key())
    return Store.of(database, FileBlobs(blobs), public)


class Made:
    """A message whose rows are not stored yet."""

    def __init__(
        self,
        store: Store,
        *routes: str,
        digest: str = "d",
        at: datetime = AT,
        content: bytes = CONTENT,
    ) -> None:
        self.store = store
        self.key = new_message_key()
        message_id = new_id()
        blob = store.put(message_id, new_id(), self.key, [content])
        recipients = [f"jan{number}@citizen.test" for number in range(len(routes))]
        self.new = NewMessage(
            id=message_id,
            digest=digest,
            sender="doctor@care.test",
            author="doctor@care.test",
            language="nl",
            created_at=at,
            expires_at=at + timedelta(days=30),
            worker_wrap=store.public.for_worker(self.key, message_id, recipients),
            blobs=(blob,),
            deliveries=tuple(
                NewDelivery(new_id(), blob.id, recipient, route, reasons=(f"because {route}",))
                for recipient, route in zip(recipients, routes, strict=True)
            ),
        )

    def attempt(self, queue_id: str = "4X1") -> Attempt:
        return Attempt(new_id(), self.new.id, queue_id, self.new.created_at)

    def prepared(self) -> Attempt:
        attempt = self.attempt()
        self.store.outgoing.prepare(self.new, attempt)
        return attempt

    def released(self, at: datetime = AT) -> "Made":
        self.store.outgoing.commit(self.prepared().id, at)
        return self

    def deposited(self, at: datetime = AT) -> tuple[Token, Attempt]:
        """Stored in place of the message: its one recipient has the link when Postfix has the message."""
        token, link = self.link()
        attempt = self.attempt()
        self.store.outgoing.prepare(self.new, attempt, link)
        return token, attempt

    def link(self, number: int = 0, purpose: str = "open") -> tuple[Token, NewLink]:
        token = Token.new()
        sealed = self.store.public.for_link(token, self.key, self.new.id) if purpose == "open" else b""
        return token, NewLink(token.lookup, self.new.deliveries[number].id, purpose, sealed)


@pytest.fixture
def make(store):
    return lambda *routes, **more: Made(store, *routes, **more)
