"""``.quickstart/send``: send one mail inside the laboratory and show what becomes of it.

Senders at care.test log in at the submission listener; the others hand in at the ntamx listener, or with
``--listener inbound`` at the ordinary MX.
"""

from __future__ import annotations

import argparse
import smtplib
import ssl
import sys
import time
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid
from pathlib import Path

from tests.laboratory.laboratory import LOGIN_PASSWORD
from tests.laboratory.names import LISTENERS
from tests.laboratory.namespace import INSIDE

PATIENCE = 4.0


def main() -> int:
    """0 when the mail was taken, 75 when it was deferred, 1 when it was refused."""
    parser = argparse.ArgumentParser(
        prog=".quickstart/send", description="Send a mail inside the laboratory."
    )
    parser.add_argument("--from", dest="sender", required=True, help="sender address")
    parser.add_argument("--to", nargs="+", required=True, help="recipient addresses")
    parser.add_argument("--subject", default="", help="Subject")
    parser.add_argument("--text", default="", help="text of the mail")
    parser.add_argument(
        "--message", type=Path, help="a file with a whole mail, instead of --subject and --text"
    )
    parser.add_argument("--attach", type=Path, action="append", default=[], help="a file to attach")
    parser.add_argument("--listener", choices=sorted(LISTENERS), help="where at care.test it is handed in")
    options = parser.parse_args()
    ours = options.sender.endswith("@care.test")
    listener = options.listener or ("submission" if ours else "ntamx")
    raw = options.message.read_bytes() if options.message else _composed(options)
    before = set(_arrived())
    code, text = _send(listener, options.sender, options.to, raw)
    print(f"{listener} answers: {code} {text}")
    if code != 250:
        return 75 if 400 <= code < 500 else 1
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and len(set(_arrived()) - before) < len(options.to):
        time.sleep(0.1)
    for path in sorted(set(_arrived()) - before):
        print(f"arrived: .quickstart/mailboxes/{path.relative_to(INSIDE / 'mailboxes')}")
    log = (INSIDE / "care" / "mail.log").read_text("utf-8", "replace")
    queue_id = text.rpartition("queued as ")[2]
    print("".join(f"log: {line}\n" for line in log.splitlines() if f" {queue_id}: to=" in line), end="")
    return 0


def _composed(options: argparse.Namespace) -> bytes:
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"] = options.sender, ", ".join(options.to)
    message["Subject"] = options.subject
    message["Date"], message["Message-ID"] = formatdate(localtime=True), make_msgid(domain="care.test")
    message.set_content(options.text + "\n")
    for file in options.attach:
        message.add_attachment(
            file.read_bytes(), maintype="application", subtype="octet-stream", filename=file.name
        )
    return message.as_bytes()


def _send(listener: str, sender: str, recipients: list[str], raw: bytes) -> tuple[int, str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    address, port = LISTENERS[listener]
    try:
        with smtplib.SMTP(address, port, "client.test", source_address=("127.0.0.90", 0)) as client:
            client.starttls(context=context)
            if listener == "submission":
                client.login(sender, LOGIN_PASSWORD)
            client.mail(sender)
            for recipient in recipients:
                code, text = client.rcpt(recipient)
                if code != 250:
                    return code, text.decode("utf-8", "replace")
            code, text = client.data(raw)
            return code, text.decode("utf-8", "replace")
    except smtplib.SMTPResponseException as refusal:
        words = refusal.smtp_error
        return refusal.smtp_code, words if isinstance(words, str) else words.decode("utf-8", "replace")


def _arrived() -> list[Path]:
    return list((INSIDE / "mailboxes").glob("*/*/*.eml"))


if __name__ == "__main__":
    sys.exit(main())
