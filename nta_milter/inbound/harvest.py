"""Keep the sender's certificate of a mail whose signature is good."""

from __future__ import annotations

from datetime import datetime

from nta_milter.errors import KeyStoreError
from nta_milter.message.address import addresses
from nta_milter.message.headers import Headers
from nta_milter.policy.snapshot import Snapshot
from nta_milter.smime.harvest import Offer, Outcome
from nta_milter.smime.open import Opened


def harvest(opened: Opened, headers: Headers, snapshot: Snapshot, at: datetime) -> Offer | None:
    """Offer the certificate of the one signer, who is the one sender; None when nothing is to be kept.

    ``headers`` are those that the signature was judged by.
    A full disk or a damaged file must not keep the mail: it is told in the reason.
    """
    if snapshot.harvest is None or len(opened.signatures) != 1:
        return None
    (layer,) = opened.signatures
    senders = addresses(headers, "From")
    if layer.status != "good" or layer.from_match != "person" or layer.signer is None or len(senders) != 1:
        return None
    try:
        return snapshot.harvest.offer(
            senders[0], layer.signer, layer.certificates, layer.capabilities, snapshot.trust, at
        )
    except KeyStoreError as error:
        return Offer(Outcome.REFUSED, str(error))
