"""A server that answers on a unix socket in Postfix's place."""

import contextlib
import socket
import threading
from pathlib import Path


class Postfix:
    """It says what it is told and keeps what it heard, for one connection after another."""

    def __init__(self, path: Path, replies: dict[str, str], leave_at: str = "") -> None:
        self.heard = b""
        self.mails = 0
        self._replies = {"EHLO": "250-x\r\n250-DSN\r\n250-8BITMIME\r\n250 SMTPUTF8", **replies}
        self._leave_at = leave_at
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def reply(self, step: str, reply: str) -> None:
        """What it says from now on."""
        self._replies[step] = reply

    def close(self) -> None:
        if not self._path.exists():
            return
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self._path.unlink()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._serve(self._listener.accept()[0])

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rwb") as stream:
            self._say(stream, self._replies.get("greeting", "220 x"))
            while line := stream.readline():
                self.heard += line
                word = line.split(b" ")[0].strip().decode("ascii").upper()
                if word == "DATA":
                    if not self._data(stream):
                        return
                elif word == self._leave_at:
                    return
                else:
                    self._say(stream, self._replies.get(word, "250 ok"))
                    if word == "QUIT":
                        return

    def _data(self, stream) -> bool:
        answer = self._replies.get("DATA", "354 go")
        self._say(stream, answer)
        if not answer.startswith("354"):
            return True
        while (line := stream.readline()) not in (b".\r\n", b""):
            self.heard += line
        if self._leave_at == "." or not line:
            return False
        self.mails += 1
        self._say(stream, self._replies.get(".", "250 2.0.0 Ok: queued as 4X1"))
        return True

    @staticmethod
    def _say(stream, reply: str) -> None:
        stream.write(reply.encode("utf-8") + b"\r\n")
        stream.flush()
