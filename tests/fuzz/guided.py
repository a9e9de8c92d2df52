"""Targets for atheris, which watches which code an input reaches and changes it to reach more.

python -m tests.fuzz.guided TARGET CORPUS -runs=20000
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import atheris
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

with atheris.instrument_imports(include=["nta_milter"]):
    from nta_milter.errors import CertificateError, CmsError, KeyStoreError, LimitExceeded, MessageError
    from nta_milter.message.headers import Headers, split
    from nta_milter.message.model import Entity
    from nta_milter.smime.certificate import Certificate
    from nta_milter.smime.keystore import KeyRing
    from nta_milter.smime.limits import Limits, Work
    from nta_milter.smime.open import classify, open_message
    from nta_milter.smime.tlv import CONSTRUCTED, Element, parse

from tests.unit.smime import forge
from tests.unit.smime.messages import around, content, mail
from tests.unit.smime.persons import NOW, person, ring, trust

COUNTERS = ("elements", "recipients", "certificates", "signers", "attributes", "private_operations", "octets")
PLAIN = forge.CONTENT
HEADERS = (
    Headers()
    .add("From", "p256@care.test")
    .add("Content-Type", "application/pkcs7-mime")
    .add("Content-Transfer-Encoding", "binary")
)
SCRATCH = Path(sys.argv[2] if len(sys.argv) > 2 else ".") / "key.p12"


def _walk(element: Element) -> int:
    return 1 + (sum(map(_walk, element.children)) if element.tag & CONSTRUCTED else 0)


def tlv(data: bytes) -> None:
    work = Work(Limits(elements=1_000))
    try:
        count = _walk(parse(data, work))
    except (CmsError, LimitExceeded):
        return
    assert count == work.elements <= 1_000


def _open(message: Entity) -> None:
    found = open_message(message.headers, message.body, ring("p256", "rsa"), trust(), at=NOW)
    assert found.error is None or isinstance(found.error, CmsError | MessageError)
    assert found.opened is (found.error is None and bool(found.layers))
    for counter in COUNTERS:
        assert getattr(found.work, counter) <= getattr(Limits(), counter)
    if found.signature == "good":
        assert found.entity is not None
        assert bytes(found.entity) in GENUINE
    assert classify(message.headers, message.body) is None or found.layers or found.error


def cms(data: bytes) -> None:
    _open(Entity(HEADERS, data))


def message(data: bytes) -> None:
    headers, start = split(data)
    found = open_message(headers, data[start:], ring("p256"), trust(), at=NOW)
    assert found.error is None or isinstance(found.error, CmsError | MessageError)
    classify(headers, data[start:])


def certificate(data: bytes) -> None:
    try:
        assert Certificate.from_der(data).der == data
    except CertificateError:
        return


def key_file(data: bytes) -> None:
    SCRATCH.write_bytes(data)
    try:
        assert all(key.source == SCRATCH.name for key in KeyRing.load(SCRATCH, passwords=[b"x"]).keys)
    except KeyStoreError:
        return


def _signed(**options: object) -> bytes:
    return forge.signed_data([forge.signer_info(forge.attributes())], **options)


def _key_file() -> bytes:
    owner = person("p256")
    shown = x509.load_der_x509_certificate(owner.certificate.der)
    return pkcs12.serialize_key_and_certificates(b"x", owner.key, shown, None, serialization.NoEncryption())


DETACHED = forge.detached(_signed(content=None))
GENUINE = {PLAIN}
SEEDS: dict[str, list[bytes]] = {
    "cms": [
        forge.envelope(PLAIN, mode="gcm", name="aes-256-gcm"),
        forge.envelope(PLAIN, mode="cbc", name="aes-128-cbc", pieces=16),
        _signed(),
    ],
    "message": [
        bytes(around(mail(), content(mail()))),
        bytes(DETACHED),
        bytes(forge.message(_signed())),
    ],
    "certificate": [person(kind).certificate.der for kind in ("rsa", "p256", "x25519", "gateway")],
    "pkcs12": [_key_file()],
}
SEEDS["tlv"] = SEEDS["cms"] + SEEDS["certificate"]
TARGETS: dict[str, Callable[[bytes], None]] = {
    "tlv": tlv,
    "cms": cms,
    "message": message,
    "certificate": certificate,
    "pkcs12": key_file,
}


def main() -> None:
    name, corpus = sys.argv[1], Path(sys.argv[2])
    for number, seed in enumerate(SEEDS[name]):
        corpus.joinpath(f"seed-{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
