"""How the mail came in: TLS of a version and with a cipher that hold (NCSC-NL's guideline, RFC 9325)."""

from __future__ import annotations

import re

from nta_milter.inbound.result import Result
from nta_milter.policy.client import Client

VERSIONS = frozenset(("TLSv1.2", "TLSv1.3"))

BROKEN = frozenset(
    ("NULL", "EXP", "EXPORT", "ANON", "ADH", "AECDH", "RC2", "RC4", "DES", "3DES", "IDEA", "SEED", "MD5")
)
"""Words in OpenSSL's name of a cipher without encryption, without a key of the server, or too weak."""


def transport(client: Client) -> Result:
    """Whether TLS protected the mail on its way to us, by what Postfix says of the connection."""
    version, cipher = client.tls_version, client.cipher
    properties = (("smtp.version", version), ("smtp.cipher", cipher))
    if not version:
        return Result("x-tls", "fail", "no TLS", properties)
    if version not in VERSIONS:
        return Result("x-tls", "fail", f"{version}, which is too old", properties)
    weak = BROKEN.intersection(re.split(r"[^A-Z0-9]+", cipher.upper()))
    if weak or not cipher:
        return Result("x-tls", "fail", f"{cipher or 'no cipher'}, which does not hold", properties)
    return Result("x-tls", "pass", "", properties)
