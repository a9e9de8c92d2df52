"""An MTA's side of the milter protocol, to drive the real milter without a Postfix and to see its actions."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

VERSION = 6
ALL_ACTIONS = 0x1FF
ALL_STEPS = 0x1FFFFF
BODY_CHUNK = 65_535
TERMINAL = b"acrtdy"


@dataclass
class Actions:
    """What the milter asked for at end of message, in order, and its verdict."""

    verdict: str = ""
    reply: str = ""
    added: list[tuple[bytes, bytes]] = field(default_factory=list)
    changed: list[tuple[bytes, int, bytes]] = field(default_factory=list)
    body: bytes | None = None
    sender: bytes | None = None
    removed: list[bytes] = field(default_factory=list)
    recipients: list[bytes] = field(default_factory=list)

    @property
    def untouched(self) -> bool:
        edits = (self.added, self.changed, self.removed, self.recipients)
        return not any(edits) and self.body is None and self.sender is None

    def headers(self, before: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """The fields after the edits, as Postfix would have them."""
        fields = list(before)
        for name, index, value in self.changed:
            at = [i for i, (n, _) in enumerate(fields) if n.lower() == name.lower()]
            if index <= len(at):
                if value:
                    fields[at[index - 1]] = (fields[at[index - 1]][0], value)
                else:
                    del fields[at[index - 1]]
            elif value:
                fields.append((name, value))
        return fields + self.added


class Mta:
    """One connection to a milter on a unix socket."""

    def __init__(
        self,
        path: Path,
        *,
        side: str = "outbound",
        address: str = "127.0.0.1",
        login: str = "",
        helo: str | bytes = "client.test",
        tls: tuple[str, str] = ("", ""),
    ) -> None:
        """``tls`` is the version and the cipher, as OpenSSL names them; empty without TLS."""
        self.login = login
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(60)
        self.socket.connect(str(path))
        self._stream = self.socket.makefile("rb")
        self._write(b"O", struct.pack("!III", VERSION, ALL_ACTIONS, ALL_STEPS))
        _, options = self._read()
        self.steps = struct.unpack("!III", options[:12])[2]
        self._macros(b"C", {"{nta_side}": side} if side else {})
        family = b"6" if ":" in address else b"4"
        self._step(
            b"C", b"client.test\0" + family + struct.pack("!H", 12345) + address.encode() + b"\0", 0x1000
        )
        self._hello(helo.encode() if isinstance(helo, str) else helo, tls)

    def __enter__(self) -> Mta:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._write(b"Q", b"")
        self._stream.close()
        self.socket.close()

    def _write(self, command: bytes, data: bytes) -> None:
        self.socket.sendall(struct.pack("!I", len(data) + 1) + command + data)

    def _read(self) -> tuple[bytes, bytes]:
        head = self._stream.read(4)
        if len(head) < 4:
            raise ConnectionError("the milter closed the connection")
        data = self._stream.read(struct.unpack("!I", head)[0])
        return data[:1], data[1:]

    def _macros(self, command: bytes, macros: dict[str, str]) -> None:
        pairs = b"".join(f"{name}\0{value}\0".encode() for name, value in macros.items())
        self._write(b"D", command + pairs)

    def _step(self, command: bytes, data: bytes, no_reply: int) -> bytes:
        """One step; the answer is awaited unless the milter has said that it gives none."""
        self._write(command, data)
        if self.steps & no_reply:
            return b"c"
        answer, _ = self._read()
        while answer == b"p":
            answer, _ = self._read()
        return answer

    def _hello(self, name: bytes, tls: tuple[str, str]) -> None:
        """HELO, and once more after STARTTLS, which Postfix then tells in macros."""
        if self.steps & 0x2:
            return
        self._macros(b"H", {})
        self._step(b"H", name + b"\0", 0x2000)
        if tls[0]:
            self._macros(b"H", {"{tls_version}": tls[0], "{cipher}": tls[1]})
            self._step(b"H", name + b"\0", 0x2000)

    def send(
        self,
        sender: str,
        recipients: Iterable[str],
        fields: Iterable[tuple[bytes, bytes]],
        body: bytes,
        *,
        queue_id: str = "4XYZ",
        arguments: tuple[str, ...] = (),
    ) -> Actions:
        """One message; the fields' values begin with their blank."""
        self._show(sender, recipients, fields, body, queue_id, arguments)
        return self._actions()

    def send_and_leave(
        self, sender: str, recipients: Iterable[str], fields: Iterable[tuple[bytes, bytes]], body: bytes
    ) -> None:
        """A Postfix that dies while the milter answers: it has read one edit."""
        self._show(sender, recipients, fields, body, "4XYZ", ())
        next(self._answers())
        self._stream.close()
        self.socket.close()

    def _show(
        self,
        sender: str,
        recipients: Iterable[str],
        fields: Iterable[tuple[bytes, bytes]],
        body: bytes,
        queue_id: str,
        arguments: tuple[str, ...],
    ) -> None:
        macros = {"{auth_authen}": self.login, "{auth_type}": "plain"} if self.login else {}
        self._macros(b"M", macros)
        self._step(b"M", b"\0".join(a.encode() for a in (f"<{sender}>", *arguments)) + b"\0", 0x4000)
        for recipient in recipients:
            self._step(b"R", f"<{recipient}>\0".encode(), 0x8000)
        self._macros(b"T", {"i": queue_id})
        if not self.steps & 0x200:
            self._step(b"T", b"", 0x10000)
        for name, value in fields:
            self._step(b"L", name + b"\0" + value.replace(b"\r\n", b"\n") + b"\0", 0x80)
        if not self.steps & 0x40:
            self._step(b"N", b"", 0x40000)
        for start in range(0, len(body), BODY_CHUNK):
            self._step(b"B", body[start : start + BODY_CHUNK], 0x80000)
        self._macros(b"E", {"i": queue_id, **macros})
        self._write(b"E", b"")

    def begin_and_leave(self, sender: str, recipient: str) -> None:
        """A client that goes away in the middle of a message."""
        self._macros(b"M", {})
        self._step(b"M", f"<{sender}>\0".encode(), 0x4000)
        self._step(b"R", f"<{recipient}>\0".encode(), 0x8000)
        self._step(b"B", b"half a mess", 0x80000)
        self._stream.close()
        self.socket.close()

    def _actions(self) -> Actions:
        actions = Actions()
        for command, data in self._answers():
            match command:
                case b"h":
                    name, value, _ = data.split(b"\0", 2)
                    actions.added.append((name, value))
                case b"i":  # at a place of its own, which does not matter here
                    name, value, _ = data[4:].split(b"\0", 2)
                    actions.added.append((name, value))
                case b"m":
                    name, value, _ = data[4:].split(b"\0", 2)
                    actions.changed.append((name, struct.unpack("!I", data[:4])[0], value))
                case b"b":
                    actions.body = (actions.body or b"") + data
                case b"e":
                    actions.sender = data.rstrip(b"\0").replace(b"\0", b" ")
                case b"-":
                    actions.removed.append(data.rstrip(b"\0"))
                case b"+" | b"2":
                    actions.recipients.append(data.rstrip(b"\0").replace(b"\0", b" "))
                case b"y":
                    actions.verdict, actions.reply = "y", data.rstrip(b"\0").decode()
                case _:
                    actions.verdict = command.decode()
        return actions

    def _answers(self) -> Iterator[tuple[bytes, bytes]]:
        while True:
            command, data = self._read()
            if command == b"p":
                continue
            yield command, data
            if command in TERMINAL:
                return
