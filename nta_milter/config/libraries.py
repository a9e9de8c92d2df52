"""Libraries that only some settings need: an extra of the package, with a stated loss when absent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module


@dataclass(frozen=True, slots=True)
class Library:
    """A library by the name it is imported by, its name on PyPI and its Debian package."""

    module: str
    project: str
    debian: str

    def __str__(self) -> str:
        return f"{self.project} (Debian: {self.debian})"


SPF = Library("spf", "pyspf", "python3-spf")
DKIM = Library("dkim", "dkimpy", "python3-dkim")
PUBLIC_SUFFIX = Library("publicsuffix2", "publicsuffix2", "python3-publicsuffix2")

CHECKS: dict[str, tuple[Library, ...]] = {"spf": (SPF,), "dkim": (DKIM,), "dmarc": (SPF, DKIM)}
"""What a check of ``[peer]`` cannot do without."""


@cache
def installed(library: Library) -> bool:
    """Whether it can be imported."""
    try:
        import_module(library.module)
    except ImportError:
        return False
    return True


def missing(check: str) -> tuple[Library, ...]:
    """The libraries that a check of ``[peer]`` needs and that are not there."""
    return tuple(library for library in CHECKS.get(check, ()) if not installed(library))
