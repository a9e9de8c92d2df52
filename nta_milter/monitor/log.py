"""Log lines: key=value, Postfix's queue id first, one line per event, never message content."""

from __future__ import annotations

import logging
import logging.handlers
import os
from collections.abc import Mapping

from nta_milter.config.model import LogSettings

NO_MESSAGE = "-"
"""Stands in place of the queue id where an event is about no message."""


STANDARD_ERROR = 2

_PLAIN = "%(levelname)s %(message)s"
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7))


def key_values(values: Mapping[str, str]) -> str:
    """The pairs in one line; a value with blanks is quoted, control characters are escaped."""
    return " ".join(f"{name}={_shown(value)}" for name, value in values.items())


def _shown(value: str) -> str:
    safe = value
    if not value.isprintable():
        safe = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in value)
    if not safe or any(c in safe for c in ' "='):
        return '"' + safe.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return safe


def line(queue_id: str, event: str, values: Mapping[str, str]) -> str:
    """One line: the queue id, the event and its details."""
    return " ".join(filter(None, (f"{queue_id or NO_MESSAGE}: event={event}", key_values(values))))


def tell(
    log: logging.Logger, level: int, event: str, queue_id: str = NO_MESSAGE, /, **values: object
) -> None:
    """Log one event; each value is shown as text."""
    if not log.isEnabledFor(level):
        return
    text = line(queue_id, event, {name: str(value) for name, value in values.items()})
    handlers = logging.root.handlers
    if len(handlers) == 1 and isinstance(handlers[0], _StandardError):
        handlers[0].say(level, text)  # a LogRecord costs more than the line
    else:
        log.log(level, "%s", text)


def tell_crash(log: logging.Logger, event: str, queue_id: str = NO_MESSAGE, /, **values: object) -> None:
    """Log a fault of our own with where it happened; call it while the exception is handled."""
    shown = {name: str(value) for name, value in values.items()}
    log.error("%s", line(queue_id, event, shown), exc_info=True)


class _Journal(logging.Formatter):
    """The level as the journal takes it (sd-daemon(3)), before each line: what is read begins with the id."""

    def format(self, record: logging.LogRecord) -> str:
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{each}" for each in super().format(record).split("\n"))


class _StandardError(logging.Handler):
    """Each line in one write, which needs no lock and no buffer: threads do not wait for each other."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self.setFormatter(_Journal() if journal else logging.Formatter(_PLAIN))
        self._begins = {
            level: f"<{priority}>" if journal else f"{logging.getLevelName(level)} "
            for level, priority in _PRIORITIES
        }

    def createLock(self) -> None:  # noqa: N802 - the name of the library
        """None is needed."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """As the library does it, but for the lock, without which newer Python's does not work."""
        wanted = bool(self.filter(record))
        if wanted:
            self.emit(record)
        return wanted

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record of whoever logs."""
        self._write(self.format(record))

    def say(self, level: int, text: str) -> None:
        """Write one line of a level that the library names."""
        self._write(self._begins[level] + text)

    def _write(self, text: str) -> None:
        """Write it, or give it up: a log that cannot be written stops no mail."""
        try:
            left = memoryview(f"{text}\n".encode("utf-8", "backslashreplace"))
            while left:
                left = left[os.write(STANDARD_ERROR, left) :]
        except OSError:
            return


def start(settings: LogSettings, service: str) -> None:
    """Send log lines where the settings say; ``service`` names who speaks, where others speak too."""
    handler: logging.Handler
    if settings.target == "syslog":
        handler = logging.handlers.SysLogHandler("/dev/log", logging.handlers.SysLogHandler.LOG_MAIL)
        handler.setFormatter(logging.Formatter(f"{service}[%(process)d]: %(message)s"))
    else:
        # our forms show none of this, and to find the caller costs more than the line
        logging._srcfile = None
        logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
        handler = _StandardError(journal="JOURNAL_STREAM" in os.environ)
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
