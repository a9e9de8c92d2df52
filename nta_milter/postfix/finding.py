"""What doctor finds: how bad it is, what is wrong, and the mend."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

SHIPPED = "/usr/share/nta-milter/postfix"
"""Where the package has the tables and lines for Postfix; in the source it is packaging/postfix."""

INSTALL = "/usr/share/doc/nta-milter/install.md"
"""The steps in which Postfix is joined."""


class Level(Enum):
    """How bad: a FAULT leaks, loses or blocks mail; a WARNING is a risk; a NOTE is worth knowing."""

    FAULT = "fault"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: what is wrong, how to mend it, and the command that would."""

    level: Level
    code: str
    text: str
    mend: str
    command: str = ""
