"""Secrets: systemd credentials first, else the files that ``[secrets]`` names."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from nta_milter.config.model import Settings
from nta_milter.errors import KeyStoreError

CREDENTIALS = "CREDENTIALS_DIRECTORY"
SIZE_LIMIT = 65_536
"""Longest secret, in bytes."""


def secret(name: str, settings: Settings) -> bytes | None:
    """The secret of this name (``keys-password``), or ``None`` where nobody gave one.

    A file ``name`` in ``$CREDENTIALS_DIRECTORY`` (systemd's LoadCredential=) comes before the key of
    ``[secrets]``, whose name has an underscore for each hyphen. One final line end is not part of the secret.

    Raises:
        KeyStoreError: the file cannot be read, is empty or too long, or may be read by everybody.
    """
    folder = os.environ.get(CREDENTIALS)
    credential = _read(Path(folder, name), absent_is_none=True) if folder else None
    if credential is not None:
        return credential
    file: Path | None = getattr(settings.secrets, name.replace("-", "_"), None)
    return None if file is None else _read(file)


def _read(path: Path, *, absent_is_none: bool = False) -> bytes | None:
    try:
        # A FIFO in the file's place must not make us wait for a writer.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise KeyStoreError("is not a regular file", where=str(path))
            if status.st_mode & stat.S_IRWXO:
                raise KeyStoreError(
                    f"may be used by everybody (mode {stat.S_IMODE(status.st_mode):04o}); chmod o-rwx it",
                    where=str(path),
                )
            content = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        if absent_is_none and isinstance(error, FileNotFoundError):
            return None
        raise KeyStoreError(f"cannot be read: {error.strerror}", where=str(path)) from None
    if len(content) > SIZE_LIMIT:
        raise KeyStoreError(f"is longer than {SIZE_LIMIT} bytes", where=str(path))
    content = content.removesuffix(b"\n").removesuffix(b"\r")
    if not content:
        raise KeyStoreError("is empty", where=str(path))
    return content
