"""The versions of the NTA 7516 record, one module each.

A module states ``VERSION``, what follows ``v=NTA7516`` in the record, and ``read``, which makes a Reading
of its fields. A new version is a new file here; its name decides its place, the newest last.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable

from nta_milter.compliance.versions.fields import Field, Reading


def _found() -> dict[str, Callable[[tuple[Field, ...]], Reading]]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names if name.startswith("nta7516")]
    return {module.VERSION: module.read for module in modules}


VERSIONS = _found()
"""Reader by version, the oldest version first."""
