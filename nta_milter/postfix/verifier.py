"""Another verifier before us: what it says is believed only while a proof holds that nobody else can say it.

The proof is made by ``nta-milter doctor --probe`` and kept in a file. It is about one listener; it ends with
its time, and when main.cf or master.cf changes, since then another milter may run there, or none.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from nta_milter.config.model import VerifierSettings
from nta_milter.errors import StoreUnavailable
from nta_milter.postfix import bypass
from nta_milter.postfix.configuration import Configuration, state_of

SIZE_LIMIT = 1_000_000
"""Longest file of proofs, in bytes."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What was shown of one verifier.

    ``methods`` whose forgeries are removed, ``fields`` that it puts on top of each mail, ``at`` in seconds
    since 1970, ``state`` of Postfix's files at that moment.
    """

    authserv_id: str
    listener: str
    methods: tuple[str, ...]
    fields: int
    at: float
    state: tuple[tuple[str, int, int, int], ...]


def files(postfix: Path) -> tuple[tuple[str, int, int, int], ...]:
    """The state that a proof depends on."""
    return state_of((postfix / "main.cf", postfix / "master.cf"))


def keep(path: Path, proofs: Sequence[Proof]) -> None:
    """Write the proofs in one step, for everybody to read.

    Raises:
        StoreUnavailable: they cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
        with os.fdopen(handle, "w", encoding="ascii") as file:
            json.dump([asdict(proof) for proof in proofs], file)
            os.fchmod(handle, 0o644)
        Path(name).rename(path)
    except OSError as error:
        raise StoreUnavailable(f"cannot be written: {error.strerror}", where=str(path)) from error


def read(path: Path) -> tuple[Proof, ...]:
    """The kept proofs; none where the file is not there, cannot be understood, or could be others' work."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return ()
            told = json.loads(file.read(SIZE_LIMIT))
        return tuple(_proof(each) for each in told)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return ()


def _proof(told: Mapping[str, object]) -> Proof:
    methods, state, fields, at = told["methods"], told["state"], told["fields"], told["at"]
    if not isinstance(methods, list) or not isinstance(state, list):
        raise TypeError
    if not isinstance(fields, int) or not isinstance(at, int | float):
        raise TypeError
    return Proof(
        str(told["authserv_id"]),
        str(told["listener"]),
        tuple(map(str, methods)),
        fields,
        float(at),
        tuple((str(name), int(inode), int(size), int(time)) for name, inode, size, time in state),
    )


def passed_by(read: Configuration, listener: str, ours: str) -> str:
    """Why mail may come by a listener (``ADDRESS:PORT``) without a verifier; empty when it may not.

    A milter that mail may pass while it is away removes no forgeries then, and a stranger may be able to keep
    it busy. Which milter is the verifier is not known.
    """
    for service in bypass.carriers(read, ours):
        place, _, kind = service.rpartition("/")
        if kind == "inet" and _port(place) != listener.rpartition(":")[2]:
            continue
        for item in bypass.items(read.effective(service, "smtpd_milters")):
            if not bypass.is_ours(item, ours) and bypass.own_action(item) == "accept":
                return f"{service}: smtpd_milters lets mail pass while {item} is away (default_action=accept)"
    return ""


def _port(place: str) -> str:
    """The port of an inet service of master.cf, as a number."""
    name = place.rpartition(":")[2]
    try:
        return name if name.isdecimal() else str(socket.getservbyname(name, "tcp"))
    except OSError:
        return name


class Verifiers:
    """The configured verifiers with their proofs, read again when the file changes; safe for many threads."""

    def __init__(
        self, configured: Sequence[VerifierSettings], path: Path, lifetime: float, postfix: Path
    ) -> None:
        self._configured = {(each.listener, each.authserv_id): each for each in configured}
        self._path = path
        self._lifetime = lifetime
        self._postfix = postfix
        self._lock = threading.Lock()
        self._known: tuple[object, tuple[Proof, ...]] = (None, ())

    def at(self, listener: str) -> tuple[VerifierSettings, ...]:
        """The verifiers that are configured for ``ADDRESS:PORT``."""
        return tuple(each for (where, _), each in self._configured.items() if where == listener)

    def all(self) -> tuple[VerifierSettings, ...]:
        """All that are configured."""
        return tuple(self._configured.values())

    def proof(self, verifier: VerifierSettings, now: float) -> tuple[Proof | None, str]:
        """The proof that holds now, or why there is none; ``now`` in seconds since 1970."""
        found = next(
            (
                each
                for each in self._read()
                if (each.listener, each.authserv_id) == (verifier.listener, verifier.authserv_id)
            ),
            None,
        )
        if found is None:
            return None, "it was never shown that it removes forgeries there"
        if not -300 <= now - found.at <= self._lifetime:
            return None, "the proof that it removes forgeries there is too old"
        if found.state != files(self._postfix):
            return None, "Postfix's configuration has changed since the proof"
        return found, ""

    def _read(self) -> tuple[Proof, ...]:
        state = state_of((self._path,))
        with self._lock:
            if self._known[0] != state:
                self._known = (state, read(self._path))
            return self._known[1]
