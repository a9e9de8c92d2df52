"""``.quickstart/read``: show the newest mail of an address as a mail program would, or list them all."""

from __future__ import annotations

import argparse
import email
import email.policy
import sys
from email.message import EmailMessage
from pathlib import Path

from tests.laboratory.namespace import INSIDE

FIELDS = ("From", "To", "Cc", "Subject", "Date", "Content-Type", "Authentication-Results")


def main() -> int:
    """0, or 1 when there is no mail."""
    parser = argparse.ArgumentParser(prog=".quickstart/read", description="Show what has arrived.")
    parser.add_argument("address", help="whose mail")
    parser.add_argument("--list", action="store_true", help="name the files of all mails instead")
    options = parser.parse_args()
    found = list((INSIDE / "mailboxes").glob(f"*/{options.address.lower()}/*.eml"))
    files = sorted(found, key=lambda path: path.stat().st_mtime_ns)
    if not files:
        print(f"nothing has arrived for {options.address}", file=sys.stderr)
        return 1
    for file in files if options.list else files[-1:]:
        print(f".quickstart/mailboxes/{file.relative_to(INSIDE / 'mailboxes')}")
    if not options.list:
        print(_shown(files[-1]))
    return 0


def _shown(file: Path) -> str:
    message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    lines = [f"{name}: {value}" for name in FIELDS for value in message.get_all(name, [])]
    assert isinstance(message, EmailMessage)
    body = message.get_body(("plain", "html"))
    lines += ["", "(no text that can be read)" if body is None else body.get_content()]
    lines += [f"attachment: {part.get_filename()}" for part in message.walk() if part.get_filename()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
