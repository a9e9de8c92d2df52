"""What one message may cost us, counted before the work is done."""

from __future__ import annotations

from dataclasses import dataclass, field

from nta_milter.errors import LimitExceeded


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Upper bounds for one message, all layers together unless it says otherwise."""

    layers: int = 4
    depth: int = 32
    """Nesting of one BER value; a signed attribute that names a certificate by its issuer needs 18."""
    elements: int = 250_000
    """BER values looked at; a streamed OCTET STRING has one per chunk."""
    recipients: int = 1_000
    certificates: int = 64
    signers: int = 8
    attributes: int = 64
    private_operations: int = 6
    verifications: int = 16
    octets: int = 500_000_000
    """Octets decoded from base64, decrypted, decompressed or hashed."""
    expansion: int = 100_000_000
    """Octets that CompressedData may grow to."""
    expansion_ratio: int = 100
    """How many times its own length, and 1,000,000 octets more: what grows is stored and sent on."""


DEFAULT_LIMITS = Limits()


@dataclass(slots=True)
class Work:
    """The bill of one message; every counter is checked against its limit before the work is done."""

    limits: Limits = DEFAULT_LIMITS
    elements: int = 0
    recipients: int = 0
    certificates: int = 0
    signers: int = 0
    attributes: int = 0
    private_operations: int = 0
    verifications: int = 0
    octets: int = 0
    layers: list[str] = field(default_factory=list)

    def spend(self, what: str, amount: int = 1) -> None:
        """Put ``amount`` on the bill.

        Raises:
            LimitExceeded: the message would cost more than ``limits`` allows.
        """
        total: int = getattr(self, what) + amount
        allowed: int = getattr(self.limits, what)
        if total > allowed:
            raise LimitExceeded(f"more than {allowed} {what.replace('_', ' ')}")
        setattr(self, what, total)
