"""Open a message: every layer of encryption, signature and compression, and what to think of each.

A layer is opened only when it is the whole message (EFAIL), and what comes out is a fresh entity.
Nothing that a message contains raises here: a failure is in ``Opened.error``, for the administrator; to
the outside every failure is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from nta_milter.errors import CmsError, LimitExceeded, MalformedCms, MessageError, NtaMilterError, OpenFailed
from nta_milter.message.address import MALFORMED, addresses
from nta_milter.message.headers import Headers
from nta_milter.message.model import Buffer, Entity
from nta_milter.message.parameters import Structured, structured
from nta_milter.smime import algorithm, compressed, envelope, mime, protect, signed, tlv, verify
from nta_milter.smime.classify import classify
from nta_milter.smime.keystore import KeyRing
from nta_milter.smime.limits import DEFAULT_LIMITS, Limits, Work
from nta_milter.smime.report import CompressedLayer, EncryptedLayer, Layer, SignedLayer, Status
from nta_milter.smime.trust import Trust
from nta_milter.smime.verify import Circumstances

__all__ = ["Opened", "classify", "open_message"]

SIGNATURE_TYPES = ("application/pkcs7-signature", "application/x-pkcs7-signature")
AROUND_CIPHERTEXT = "a signature around ciphertext does not say who wrote what is inside"
_ENVELOPED = (algorithm.ENVELOPED_DATA, algorithm.AUTH_ENVELOPED_DATA)


@dataclass(frozen=True, slots=True)
class Opened:
    """The outcome for one message.

    ``opened``: it was S/MIME, and every layer was taken off (a signature may still not be good).
    ``entity``: the innermost readable entity with its own MIME header fields, also where an inner layer
    stayed closed; None when no layer was taken off. ``headers``: the message's header fields, without
    those of the body, after what could safely be restored. ``error``: why it was not opened; None for a
    message that is no S/MIME.
    """

    opened: bool
    entity: Entity | None
    headers: Headers
    layers: tuple[Layer, ...]
    error: NtaMilterError | None
    work: Work
    wrapped: bool = False

    @property
    def signatures(self) -> tuple[SignedLayer, ...]:
        """The signed layers, outermost first."""
        return tuple(layer for layer in self.layers if isinstance(layer, SignedLayer))

    @property
    def signature(self) -> Status | None:
        """What all signatures together are worth (decision 011); None without any.

        It is the worst of them; but one around ciphertext, which proves nothing about the plaintext, takes
        nothing away from a good one inside unless it is bad.
        """
        found = {layer.status for layer in self.signatures}
        innermost = max(
            (place for place, layer in enumerate(self.layers) if isinstance(layer, EncryptedLayer)), default=0
        )
        inside = {layer.status for layer in self.layers[innermost:] if isinstance(layer, SignedLayer)}
        if "bad" in found or not inside:
            inside = found
        ranked: tuple[Status, ...] = ("bad", "unknown", "good")
        return next((status for status in ranked if status in inside), None)

    @property
    def encrypted(self) -> bool:
        """Whether a layer of encryption was opened."""
        return any(isinstance(layer, EncryptedLayer) for layer in self.layers)

    def report(self) -> dict[str, Any]:
        """As JSON values, for ``--report`` and the log."""
        error = self.error
        return {
            "opened": self.opened,
            "layers": [layer.report() for layer in self.layers],
            "error": None if error is None else {"class": type(error).__name__, "detail": str(error)},
        }


def open_message(
    headers: Headers,
    body: Buffer,
    keys: KeyRing,
    trust: Trust | None,
    *,
    at: datetime,
    layer_limit: int = DEFAULT_LIMITS.layers,
    limits: Limits = DEFAULT_LIMITS,
) -> Opened:
    """Take off every layer that ``keys`` open and judge every signature as of ``at``.

    Without ``trust`` no signature is good. It never raises for what the message contains.
    """
    return _Opening(headers, keys, trust, at, replace(limits, layers=layer_limit)).run(headers, body)


_SIGNED: tuple[set[Status], ...] = ({"good"}, {"good", "unknown"})
"""What signatures are worth when one inside is good (around ciphertext none is) and none is bad."""


class _Opening:
    def __init__(
        self, headers: Headers, keys: KeyRing, trust: Trust | None, at: datetime, limits: Limits
    ) -> None:
        self.headers = mime.message_and_body(headers)[0]
        self.keys = keys
        self.work = Work(limits)
        self.circumstances = Circumstances(_senders(headers), trust, at)
        self.layers: list[Layer] = []
        self.wrapped = False

    def run(self, headers: Headers, body: Buffer) -> Opened:
        entity = Entity(headers, body)
        error: NtaMilterError | None = None
        try:
            while (inner := self._layer(entity)) is not None:
                entity = inner
        except (CmsError, MessageError) as failure:
            error = failure
        if not self.layers:
            return Opened(False, None, self.headers, (), error, self.work)
        layers = _flagged(self.layers)
        found = {layer.status for layer in layers if isinstance(layer, SignedLayer)}
        restored = self.headers
        try:
            if error is None and any(isinstance(layer, EncryptedLayer) for layer in layers):
                restored = protect.restore(self.headers, entity, signed=found in _SIGNED)
                entity = protect.content(self.headers, entity)
        except MessageError as failure:
            error = failure
        fresh = Entity(mime.message_and_body(entity.headers)[1], entity.body)
        return Opened(error is None, fresh, restored, layers, error, self.work, self.wrapped)

    def _layer(self, entity: Entity) -> Entity | None:
        """What is inside one layer; None when the entity is no S/MIME."""
        kind = mime.content_type(entity.headers) if self.layers else _lenient_type(entity.headers)
        if kind.value == "multipart/signed":
            if not _is_smime_signature(kind):
                return None
            self._count()
            return self._detached(kind, entity)
        if not mime.is_cms(entity.headers, kind):
            return None
        self._count()
        inner = self._cms(entity)
        self.wrapped = True
        return inner

    def _cms(self, entity: Entity) -> Entity:
        """What is inside an entity that is CMS as a whole."""
        data = mime.decoded(entity.headers, entity.body)
        self.work.spend("octets", len(data))
        oid, content = tlv.content_info(data, self.work)
        if oid in _ENVELOPED:
            found = envelope.read(content, oid == algorithm.AUTH_ENVELOPED_DATA, self.work)
            plaintext, layer = envelope.unseal(found, self.keys, self.work)
            self.layers.append(layer)
            return mime.entity(plaintext)
        if oid == algorithm.COMPRESSED_DATA:
            grown = compressed.decompress(content, self.work)
            self.layers.append(CompressedLayer())
            return mime.entity(grown)
        if oid == algorithm.SIGNED_DATA:
            return self._opaque(signed.read(content, self.work))
        raise MalformedCms(f"content of type {tlv.dotted(oid)}, which is none of S/MIME's")

    def _count(self) -> None:
        if len(self.layers) >= self.work.limits.layers:
            raise LimitExceeded(f"more than {self.work.limits.layers} layers")

    def _detached(self, kind: Structured, entity: Entity) -> Entity:
        content, signature = mime.signed_parts(kind, entity.body)
        inner = mime.entity(content)
        data = mime.decoded(signature.headers, signature.body)
        self.work.spend("octets", len(data))
        try:
            oid, value = tlv.content_info(data, self.work)
            if oid != algorithm.SIGNED_DATA:
                raise MalformedCms("the signature of a multipart/signed is no SignedData")
            found = signed.read(value, self.work)
        except CmsError as failure:  # the content is readable all the same
            self.layers.append(SignedLayer(status="bad", reason=str(failure)))
            return inner
        if found.content is not None:
            reason = "a multipart/signed whose signature has content of its own"
            self.layers.append(SignedLayer(status="bad", reason=reason))
        elif not found.signers:
            self.layers.append(SignedLayer(status="bad", reason="a signature without signers"))
        else:
            self.layers.append(verify.verify(found, [content], self.circumstances, self.work))
        return inner

    def _opaque(self, found: signed.Signed) -> Entity:
        if not found.signers:
            raise OpenFailed("a SignedData without signers carries certificates and signs nothing")
        if found.content is None:
            raise MalformedCms("a SignedData without content")
        self.layers.append(verify.verify(found, found.content, self.circumstances, self.work))
        pieces = found.content
        return mime.entity(pieces[0] if len(pieces) == 1 else b"".join(pieces))


def _senders(headers: Headers) -> Sequence[str]:
    """The addresses of the one From field; none when there are several, or one that cannot be read."""
    if len(headers.all("From")) != 1:
        return ()
    found = addresses(headers, "From")
    return () if MALFORMED in found else found


def _lenient_type(headers: Headers) -> Structured:
    """The type of the message itself: where it is ambiguous, nothing is S/MIME."""
    try:
        return mime.content_type(headers)
    except MessageError:
        return structured(b"")


def _is_smime_signature(kind: Structured) -> bool:
    return kind.parameters.get("protocol", "").lower() in SIGNATURE_TYPES


def _flagged(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """The layers with the flags that depend on what is around and inside them."""
    done: list[Layer] = []
    for position, layer in enumerate(layers):
        inside_encrypted = any(isinstance(inner, EncryptedLayer) for inner in layers[position + 1 :])
        if isinstance(layer, SignedLayer) and layer.status == "good" and inside_encrypted:
            layer = replace(layer, status="unknown", reason=AROUND_CIPHERTEXT)
        if isinstance(layer, EncryptedLayer):
            flags = list(layer.flags)
            inside = [inner for inner in layers[position + 1 :] if isinstance(inner, SignedLayer)]
            if not layer.authenticated and not any(inner.status == "good" for inner in inside):
                flags.append("no-inner-signature")
            if any(isinstance(around, SignedLayer) for around in layers[:position]):
                flags.append("signed-outside")
            layer = replace(layer, flags=tuple(flags))
        done.append(layer)
    return tuple(done)
