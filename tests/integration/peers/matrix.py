"""What was exchanged with whom, as small tables."""

from __future__ import annotations

from collections.abc import Iterator


class Matrix:
    """Outcomes by direction, peer and algorithm."""

    def __init__(self) -> None:
        self._cells: dict[str, dict[tuple[str, str], str]] = {}

    def note(self, direction: str, peer: str, algorithm: str, ok: bool) -> None:
        self._cells.setdefault(direction, {})[(peer, algorithm)] = "yes" if ok else "NO"

    def lines(self) -> Iterator[str]:
        for direction, cells in self._cells.items():
            peers = list(dict.fromkeys(peer for peer, _ in cells))
            yield ""
            yield f"{direction:28}" + "".join(f"{peer:>15}" for peer in peers)
            for algorithm in dict.fromkeys(name for _, name in cells):
                row = "".join(f"{cells.get((peer, algorithm), '-'):>15}" for peer in peers)
                yield f"  {algorithm:26}{row}"


MATRIX = Matrix()
