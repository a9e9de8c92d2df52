"""What a mail with a good signature leaves: its sender's certificate, and where its revocation is told."""

from __future__ import annotations

import logging
from datetime import datetime

from nta_milter.errors import KeyStoreError
from nta_milter.message.address import addresses
from nta_milter.message.headers import Headers
from nta_milter.monitor.log import tell
from nta_milter.policy.snapshot import Snapshot
from nta_milter.smime.distribution import note
from nta_milter.smime.harvest import Offer, Outcome
from nta_milter.smime.open import Opened
from nta_milter.smime.trust import INTERMEDIATE_LIMIT

log = logging.getLogger(__name__)


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


def note_lists(opened: Opened, snapshot: Snapshot) -> None:
    """Note where the revocation lists about trusted signers are published, for the worker to fetch.

    What cannot be written must not keep the mail: it is logged.
    """
    smime = snapshot.settings.smime
    if not smime.fetch_crls or smime.crls is None:
        return
    for layer in opened.signatures:
        if layer.trust == "trusted" and layer.signer is not None:
            others = [certificate for certificate in layer.certificates if certificate != layer.signer]
            try:
                note((layer.signer, *others[:INTERMEDIATE_LIMIT]), smime.crls)
            except KeyStoreError as error:
                tell(log, logging.ERROR, "crl-not-noted", error=error)
