"""Sends many different messages from a few sessions, and prints when it began and ended.

    python -m tests.bench.client ADDRESS PORT FILE SESSIONS COUNT RECIPIENT...

smtp-source sends one message again and again, which the store would take for retries. Each ``NUMBER`` in FILE
becomes the number of the message.
"""

from __future__ import annotations

import smtplib
import sys
import threading
import time
from pathlib import Path


def main() -> None:
    """Send; what is refused ends the program with an error."""
    address, port, file, sessions, count = sys.argv[1:6]
    recipients = sys.argv[6:]
    content = Path(file).read_bytes().replace(b"\n", b"\r\n")
    start = time.time_ns()
    numbers = iter(range(start, start + int(count)))
    lock = threading.Lock()
    faults: list[Exception] = []
    clients = [smtplib.SMTP(address, int(port), "client.test") for _ in range(int(sessions))]

    def send(client: smtplib.SMTP) -> None:
        try:
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                raw = content.replace(b"NUMBER", b"%020d" % number)
                client.sendmail("doctor@care.test", recipients, raw)
        except (OSError, smtplib.SMTPException) as error:
            faults.append(error)

    threads = [threading.Thread(target=send, args=(client,)) for client in clients]
    begun = time.time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended = time.time()
    if faults:
        sys.exit(f"{faults[0]}")
    print(begun, ended)
    for client in clients:
        client.quit()


if __name__ == "__main__":
    main()
