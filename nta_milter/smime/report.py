"""What was found in a message, layer by layer, for the administrator's log and ``--report``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from nta_milter.smime.certificate import Certificate

Status = Literal["good", "bad", "unknown"]
FromMatch = Literal["person", "domain", "mismatch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptedLayer:
    """One opened EnvelopedData or AuthEnvelopedData.

    ``recipient`` names the certificate whose key opened it. Flags: ``weak-cipher`` (3DES), ``bound-key``
    (RFC 9709), ``no-inner-signature`` (CBC, and no good signature inside: the content may have been
    changed by anybody, EFAIL), ``signed-outside`` (a signature around the ciphertext, which says nothing
    about who wrote the plaintext).
    """

    cipher: str
    authenticated: bool
    key_encryption: str
    recipient: str
    flags: tuple[str, ...] = ()

    def report(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "type": "encrypted",
            "cipher": self.cipher,
            "authenticated": self.authenticated,
            "key_encryption": self.key_encryption,
            "recipient": self.recipient,
            "flags": list(self.flags),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedLayer:
    """One SignedData.

    ``good``: the signature is right, by a trusted certificate that names every From address, over a digest
    that is not weak. ``bad``: it is wrong, or breaks a rule, or is by somebody else. ``unknown``: nothing
    is wrong with it and nothing is proven (untrusted, expired or missing certificate, weak or unknown
    algorithm). ``capabilities`` are the signer's SMIMECapabilities (RFC 8551 section 2.5.2), DER.
    ``certificates`` are all that the message brought with a signature that is right.
    """

    status: Status
    reason: str
    signature: str = ""
    digest: str = ""
    signer: Certificate | None = None
    trust: str = "unknown"
    from_match: FromMatch = "mismatch"
    signing_time: datetime | None = None
    capabilities: bytes | None = None
    certificates: tuple[Certificate, ...] = ()

    def report(self) -> dict[str, Any]:
        """As JSON values."""
        signer = self.signer
        return {
            "type": "signed",
            "status": self.status,
            "reason": self.reason,
            "signature": self.signature,
            "digest": self.digest,
            "signer": None
            if signer is None
            else {
                "subject": signer.subject,
                "emails": list(signer.emails),
                "not_after": timestamp(signer.not_after),
            },
            "trust": self.trust,
            "from_match": self.from_match,
            "signing_time": None if self.signing_time is None else timestamp(self.signing_time),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressedLayer:
    """One CompressedData (RFC 3274)."""

    algorithm: str = "zlib"

    def report(self) -> dict[str, Any]:
        """As JSON values."""
        return {"type": "compressed", "algorithm": self.algorithm}


Layer = EncryptedLayer | SignedLayer | CompressedLayer


def timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC with whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
