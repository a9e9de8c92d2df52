"""Log lines: key=value, queue id first, one line per event, never message content."""

from __future__ import annotations

import logging
import logging.handlers
import sys
from collections.abc import Mapping

from nta_milter.config.model import LogSettings


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


def start(settings: LogSettings) -> None:
    """Send log lines where the settings say."""
    handler: logging.Handler
    if settings.target == "syslog":
        handler = logging.handlers.SysLogHandler("/dev/log", logging.handlers.SysLogHandler.LOG_MAIL)
        handler.setFormatter(logging.Formatter("nta-milter[%(process)d]: %(message)s"))
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
