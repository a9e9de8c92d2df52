"""What has arrived: the files that ``lmtp.py`` writes, as values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Delivered:
    """One mail in a mailbox: its bytes with CRLF line ends, and its envelope."""

    raw: bytes
    sender: str
    recipient: str
    sender_options: tuple[str, ...]
    received_at: float

    @property
    def headers(self) -> bytes:
        """The outer header fields."""
        return self.raw.partition(b"\r\n\r\n")[0] + b"\r\n"

    @property
    def body(self) -> bytes:
        """What follows the header fields."""
        return self.raw.partition(b"\r\n\r\n")[2]


def read(folder: Path) -> list[Delivered]:
    """The mails of one mailbox folder, oldest first."""
    found = []
    for envelope in sorted(folder.glob("*.json"), key=lambda path: int(path.stem)):
        fields = json.loads(envelope.read_text())
        found.append(
            Delivered(
                raw=envelope.with_suffix(".eml").read_bytes(),
                sender=fields["sender"],
                recipient=fields["recipient"],
                sender_options=tuple(fields["sender_options"]),
                received_at=fields["received_at"],
            )
        )
    return found
