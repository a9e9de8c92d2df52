"""The tables (SQLAlchemy Core). Moments are whole microseconds since 1970 UTC; ids are 32 hex digits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.types import TypeDecorator

VERSION = 3
"""The version of this schema; a change of it is a new step in ``migrations``."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Moment(TypeDecorator[datetime]):
    """An aware datetime, exact on every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> int | None:
        """To microseconds."""
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Any) -> datetime | None:
        """From microseconds."""
        return None if value is None else _EPOCH + value * _MICROSECOND


ID = String(32)
HASH = String(64)
metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, nullable=False))

messages = Table(
    "messages",
    metadata,
    Column("id", ID, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("digest", HASH, nullable=False),
    Column("sender", Text, nullable=False),  # of the envelope
    Column("author", Text, nullable=False),  # the address in From
    Column("arguments", Text, nullable=False),  # of MAIL FROM (RFC 3461), JSON
    Column("language", String(16), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("worker_wrap", LargeBinary),  # the message key, sealed to the worker
    Column("shredded_at", Moment),
    Column("reply_to", ID),  # the delivery that a reply in the portal answers
    Index("messages_digest", "digest", "state"),
    Index("messages_expiry", "state", "expires_at"),
    Index("messages_shredded", "shredded_at"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", ID, primary_key=True),  # stands in the commit address
    Column("message_id", ID, ForeignKey("messages.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("queue_id", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", Moment, nullable=False),
    Index("attempts_state", "state"),
)

blobs = Table(
    "blobs",
    metadata,
    Column("id", ID, primary_key=True),
    Column("message_id", ID, ForeignKey("messages.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    Column("content", LargeBinary),  # sealed; what is too long for a row lies in the blob store
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", ID, primary_key=True),
    Column("message_id", ID, ForeignKey("messages.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("blob_id", ID, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("arguments", Text, nullable=False),  # of RCPT TO (RFC 3461), JSON
    Column("route", String(16), nullable=False),
    Column("next_hop", Text, nullable=False),
    Column("reasons", Text, nullable=False),  # JSON
    Column("state", String(16), nullable=False),
    Column("queue_id", Text, nullable=False, server_default=""),  # Postfix's, of the message it came with
    Column("created_at", Moment, nullable=False),
    Column("opened_at", Moment),
    Column("read_at", Moment),
    Column("downloads", Integer, nullable=False),
    Column("decide_at", Moment),  # when an undecided delivery is looked at again
    Index("deliveries_state", "state", "decide_at"),
)

submissions = Table(
    "submissions",
    metadata,
    Column("id", ID, primary_key=True),
    Column("delivery_id", ID, ForeignKey("deliveries.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("form", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("status", String(16), nullable=False),  # of a report (RFC 3463)
    Column("detail", Text, nullable=False),  # of a report, in words
    Column("tries", Integer, nullable=False),
    Column("due_at", Moment, nullable=False),
    Column("claimed_until", Moment),
    Column("claim", ID),
    Column("worker", Text, nullable=False),  # who has claimed it
    Column("fault", Text, nullable=False),
    Column("queue_id", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("submitted_at", Moment),
    Index("submissions_due", "state", "due_at"),
)

links = Table(
    "links",
    metadata,
    Column("lookup", HASH, primary_key=True),
    Column("delivery_id", ID, ForeignKey("deliveries.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("purpose", String(16), nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # empty where the link opens a page and no message
    Column("created_at", Moment, nullable=False),
)

factors = Table(
    "factors",
    metadata,
    Column("address", Text, primary_key=True),  # lower case
    Column("kind", String(16), primary_key=True),
    Column("value", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
)

challenges = Table(
    "challenges",
    metadata,
    Column("id", ID, primary_key=True),
    Column("delivery_id", ID, ForeignKey("deliveries.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("answer", HASH, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("used_at", Moment),
)

sessions = Table(
    "sessions",
    metadata,
    Column("lookup", HASH, primary_key=True),
    Column("delivery_id", ID, ForeignKey("deliveries.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("purpose", String(16), nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("used_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False, index=True),
)

rates = Table(
    "rates",
    metadata,
    Column("bucket", String(200), primary_key=True),
    Column("began_at", Moment, nullable=False),
    Column("count", Integer, nullable=False),
)

records = Table(
    "records",
    metadata,
    Column("writer", String(100), primary_key=True),
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False, index=True),
    Column("line", LargeBinary, nullable=False),
    Column("hash", HASH, nullable=False),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("writer", String(100), primary_key=True),
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("hash", HASH, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("key_id", String(16), nullable=False),
)
