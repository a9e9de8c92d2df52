"""The files of the project as the tests of this folder read them."""

import ast
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@cache
def files() -> tuple[Path, ...]:
    """Every file that git knows, relative to the root."""
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, check=True, text=True)
    return tuple(Path(name) for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())


@cache
def python(*folders: str) -> tuple[Path, ...]:
    """The Python modules in these folders, relative to the root."""
    return tuple(path for path in files() if path.suffix == ".py" and path.parts[0] in folders)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), filename=str(path))


def text(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")
