"""The settings of what a service tells about itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address

from nta_milter.config.key import key

_PLACE = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<four>[0-9.]+)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, kw_only=True)
class MetricsSettings:
    """``[metrics]``: where Prometheus finds the numbers of each service."""

    milter: str = key(
        "loopback ADDRESS:PORT where nta-milter.service answers GET /metrics; empty = nowhere",
        default="",
        example='"127.0.0.1:9716"',
    )
    worker: str = key("the same for nta-worker.service", default="", example='"127.0.0.1:9717"')
    portal: str = key("the same for nta-portal.service", default="", example='"127.0.0.1:9718"')


def loopback(place: str) -> tuple[str, int] | None:
    """Address and port of ``ADDRESS:PORT`` or ``[ADDRESS]:PORT`` on loopback; None for anything else."""
    found = _PLACE.fullmatch(place)
    if found is None or not 0 < int(found["port"]) < 65_536:
        return None
    try:
        address = ip_address(found["six"] or found["four"])
    except ValueError:
        return None
    return (str(address), int(found["port"])) if address.is_loopback else None
