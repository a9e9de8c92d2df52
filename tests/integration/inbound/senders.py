"""Who sends to care.test in these tests: real zones with SPF, DKIM and DMARC, and what they sign."""

from __future__ import annotations

import base64
from pathlib import Path

import authres
import dkim
import nacl.signing

from tests.laboratory.certificates import Certificates, openssl
from tests.laboratory.dns import Zone, txt
from tests.laboratory.names import record

ADDRESS = "192.0.2.1"
"""From where sender.test sends."""
OTHER = "198.51.100.7"
"""From where anybody else does."""
TLS = ("TLSv1.3", "TLS_AES_256_GCM_SHA384")
ED25519 = nacl.signing.SigningKey(b"a seed that is known, for tests.")

FIELDS = [
    (b"From", b" Verpleegkundige <nurse@sender.test>"),
    (b"To", b" doctor@care.test"),
    (b"Subject", b" Overleg"),
    (b"Date", b" Tue, 24 Nov 2026 10:00:00 +0100"),
    (b"MIME-Version", b" 1.0"),
]
BODY = b"Goedemorgen,  \t dit is een\tgewone mail.\r\n\r\nGroet\r\n\r\n"

Fields = list[tuple[bytes, bytes]]


def public(certificates: Certificates, name: str) -> str:
    """The base64 of an RSA key's public half."""
    pem = openssl("rsa", "-in", certificates.plain_key(name), "-pubout", "-outform", "PEM").decode()
    return "".join(pem.splitlines()[1:-1])


def zones(certificates: Certificates) -> list[Zone]:
    """sender.test is compliant and does all well; the others each do one thing badly."""
    key = public(certificates, "sender")
    edwards = base64.b64encode(bytes(ED25519.verify_key)).decode()
    tlsa = certificates.host("nta.sender.test").tlsa()
    chain = [f"i{n} TXT {txt(f'v=spf1 include:i{n + 1}.chain.test -all')}" for n in range(12)]
    return [
        Zone(
            "sender.test",
            [
                *("@ MX 10 mx.sender.test.", f"mx A {ADDRESS}", "nta A 127.0.0.91"),
                *(record("nta.sender.test"), f"_25._tcp.nta TLSA {tlsa}"),
                f"@ TXT {txt('v=spf1 mx ip6:2001:db8::/32 include:_more.sender.test -all')}",
                f"_more TXT {txt('v=spf1 exists:%{i}.%{l}.allowed.sender.test ~all')}",
                f"mx TXT {txt(f'v=spf1 ip4:{ADDRESS} -all')}",
                f"_dmarc TXT {txt('v=DMARC1; p=reject; sp=quarantine; adkim=r; aspf=r')}",
                f"good._domainkey TXT {txt(f'v=DKIM1; k=rsa; p={key}')}",
                f"edwards._domainkey TXT {txt(f'v=DKIM1; k=ed25519; p={edwards}')}",
                "revoked._domainkey TXT " + txt("v=DKIM1; p="),
                f"testing._domainkey TXT {txt(f'v=DKIM1; t=y; p={key}')}",
                f"broken._domainkey TXT {txt('v=DKIM1; p=AAAA')}",
                f"large._domainkey TXT {txt('v=DKIM1; p=' + 'A' * 4000)}",
                *(f"twice._domainkey TXT {txt(f'v=DKIM1; n={n}; p={key}')}" for n in (1, 2)),
                f"dept TXT {txt(f'v=spf1 ip4:{ADDRESS} -all')}",
            ],
        ),
        Zone("strict.test", [f"_dmarc TXT {txt('v=DMARC1; p=reject; adkim=s; aspf=s')}"]),
        Zone(
            "forwarder.test",
            [
                f"@ TXT {txt(f'v=spf1 ip4:{OTHER} -all')}",
                f"good._domainkey TXT {txt(f'v=DKIM1; p={key}')}",
                f"_dmarc TXT {txt('v=DMARC1; p=none')}",
            ],
        ),
        Zone("bare.test", ["@ A 192.0.2.77"]),
        Zone("twice.test", [f"@ TXT {txt('v=spf1 -all')}", f"@ TXT {txt('v=spf1 +all')}"]),
        Zone("wild.test", [f"@ TXT {txt('v=spf1 a.' + 'x' * 3000 + '! -all')}"]),
        Zone("loop.test", [f"@ TXT {txt('v=spf1 redirect=loop.test')}"]),
        Zone("chain.test", [f"@ TXT {txt('v=spf1 include:i0.chain.test -all')}", *chain]),
        Zone("void.test", [f"@ TXT {txt('v=spf1 a:n1.void.test a:n2.void.test a:n3.void.test +all')}"]),
        Zone("refused.test", [f"@ TXT {txt('v=spf1 +all')}", f"_dmarc TXT {txt('v=DMARC1; p=none')}"]),
        Zone("dead.test", dead=True),
    ]


def sign(
    certificates: Certificates,
    fields: Fields = FIELDS,
    body: bytes = BODY,
    *,
    domain: str = "sender.test",
    selector: str = "good",
    canonicalize: tuple[bytes, bytes] = (b"relaxed", b"simple"),
    names: list[bytes] | None = None,
    length: bool = False,
) -> Fields:
    """The fields with dkimpy's signature before them."""
    message = b"".join(b"%b:%b\r\n" % field for field in fields) + b"\r\n" + body
    edwards = selector == "edwards"
    key = base64.b64encode(bytes(ED25519)) if edwards else _pem(certificates.plain_key("sender"))
    signer = dkim.DKIM(message, signature_algorithm=b"ed25519-sha256" if edwards else b"rsa-sha256")
    signature = signer.sign(
        selector.encode(),
        domain.encode(),
        key,
        canonicalize=canonicalize,
        include_headers=names,
        length=length,
    )
    name, _, value = signature.removesuffix(b"\r\n").partition(b":")
    return [(name, value), *fields]


def _pem(file: Path) -> bytes:
    return file.read_bytes()


def results(actions, fields: Fields) -> dict[str, list[str]]:
    """Each method's results in the one field in our name, as another parser of RFC 8601 reads it."""
    values = [v for n, v in actions.headers(fields) if n.lower() == b"authentication-results"]
    own = [value for value in values if value.split(b";")[0].strip() == b"nta.mx.care.test"]
    assert len(own) <= 1, own
    found: dict[str, list[str]] = {}
    for value in own:
        text = value.decode("ascii").replace("\n", "")
        for each in authres.AuthenticationResultsHeader.parse(f"Authentication-Results: {text}").results:
            found.setdefault(each.method, []).append(each.result)
    return found


def text(actions, fields: Fields) -> str:
    """The field in our name, unfolded."""
    (value,) = [v for n, v in actions.headers(fields) if n.lower() == b"authentication-results"]
    return " ".join(value.decode("ascii").split())
