"""The store as a whole, as each service opens it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from nta_milter.config.model import Settings
from nta_milter.config.secrets import secret
from nta_milter.errors import ConfigurationError, KeyStoreError
from nta_milter.store import migrations, sealed
from nta_milter.store.access import Access
from nta_milter.store.blobs import Blob, BlobStore, BytesBlob, FileBlobs
from nta_milter.store.database import Database
from nta_milter.store.handover import Handover
from nta_milter.store.keys import PrivateKeys, PublicKeys, blob_context
from nta_milter.store.outgoing import Outgoing
from nta_milter.store.retention import Retention
from nta_milter.store.rows import ASKED, NewBlob

IN_ROW = 65_536
"""Most bytes of sealed content that are kept in the database: one sync for rows and content."""


@dataclass(frozen=True)
class Store:
    """Database, blobs and public keys, with the operations on them. Open it after a fork, never before."""

    database: Database
    blobs: BlobStore
    public: PublicKeys
    outgoing: Outgoing
    handover: Handover
    access: Access
    retention: Retention

    @classmethod
    def of(
        cls, database: Database, blobs: BlobStore, public: PublicKeys, asked: Collection[str] = ASKED
    ) -> Store:
        """From its parts; ``asked`` are the kinds of second factor that the portal can ask for."""
        return cls(
            database,
            blobs,
            public,
            Outgoing(database),
            Handover(database, asked),
            Access(database, asked),
            Retention(database, blobs),
        )

    def put(
        self, message_id: str, blob_id: str, message_key: bytes, content: Sequence[bytes | memoryview]
    ) -> NewBlob:
        """Seal content, and store it durably where it is too long to be stored with its row.

        Raises:
            StoreUnavailable: it cannot be stored.
        """
        size = sum(map(len, content))
        pieces = sealed.seal(content, message_key, blob_context(message_id, blob_id))
        if sealed.sealed_size(size) <= IN_ROW:
            return NewBlob(blob_id, size, b"".join(pieces))
        self.blobs.put(blob_id, pieces)
        return NewBlob(blob_id, size)

    def message_key(self, worker: PrivateKeys, wrap: bytes, message_id: str) -> bytes:
        """The key of a message from the worker's wrap.

        Raises:
            SealError: the wrap is not for these keys, or the message was made for other recipients.
        """
        return worker.open_worker(wrap, message_id, self.handover.recipients(message_id))

    def open(self, message_id: str, blob_id: str, message_key: bytes) -> Content:
        """Open stored content for reading at any place.

        Raises:
            SealError: the key does not open it, or it was changed.
            StoreUnavailable: it is not there or cannot be read.
        """
        kept = self.outgoing.sealed(blob_id)
        blob: Blob = self.blobs.open(blob_id) if kept is None else BytesBlob(kept)
        try:
            reader = sealed.SealedReader(blob, message_key, blob_context(message_id, blob_id))
        except BaseException:
            blob.close()
            raise
        return Content(blob, reader)

    def close(self) -> None:
        """Close the database's connections."""
        self.database.close()


@dataclass(frozen=True)
class Content:
    """Opened content; a context manager that closes its blob. Safe for several threads."""

    blob: Blob
    reader: sealed.SealedReader

    @property
    def size(self) -> int:
        """Bytes of content."""
        return self.reader.size

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """The content from ``offset``, all of it without a length; raises SealError, StoreUnavailable."""
        return self.reader.read(offset, self.size if length is None else length)

    def pieces(self, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The content in order, 256 KiB at a time."""
        return self.reader.pieces(offset, length)

    def close(self) -> None:
        """Close the blob."""
        self.blob.close()

    def __enter__(self) -> Content:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_store(settings: Settings) -> Store:
    """The store that the settings name, with the schema that this program needs.

    Raises:
        ConfigurationError: there is none, or it has another version of the schema.
        KeyStoreError: a public key cannot be read.
        StoreUnavailable: the database cannot be reached.
    """
    database = open_database(settings)
    migrations.require(database)
    public = PublicKeys.load(settings.store.public)
    asked = ASKED | {"phone"} if settings.portal.sms_command else ASKED
    return Store.of(database, FileBlobs(settings.store.blobs), public, asked)


def open_database(settings: Settings) -> Database:
    """The database that the settings name, whatever its version; raises ConfigurationError."""
    if not settings.store.url:
        raise ConfigurationError("is empty: there is no store", where="store.url")
    return Database(settings.store.url)


def private_keys(service: str, settings: Settings) -> PrivateKeys:
    """The private keys of ``portal`` or ``worker``, from its credential.

    Raises:
        KeyStoreError: there is none, or it cannot be used.
    """
    name = f"{service}-key"
    pem = secret(name, settings)
    if pem is None:
        raise KeyStoreError("is neither a credential nor named in [secrets]", where=name)
    return PrivateKeys.parse(pem + b"\n", name)
