"""``nta-milter doctor --probe``: does a verifier run before us, and does it remove forgeries?"""

from __future__ import annotations

import secrets
import smtplib
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nta_milter.config.model import Settings, VerifierSettings
from nta_milter.errors import NtaMilterError, TemporaryError
from nta_milter.inbound.probe import EXPECT, PROBE_HEADER, TOLD
from nta_milter.inbound.result import RESULT_HEADER
from nta_milter.monitor.control import ask
from nta_milter.postfix.configuration import Postfix, postfix_name
from nta_milter.postfix.finding import Finding, Level
from nta_milter.postfix.verifier import Proof, Verifiers, files, keep, passed_by

PATIENCE = 60.0
"""Seconds for each answer of Postfix; a verifier may ask DNS."""

FORGED = {"spf": "smtp.mailfrom", "dkim": "header.d", "dmarc": "header.from"}
"""The property that a forged result of each method claims."""

SIGNATURE = (
    "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=probe.invalid; s=probe; h=from;\r\n"
    "\tbh=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=; b=AAAA\r\n"
)
MEND = "let it run before nta-milter there, tell a result of every mail, and remove what comes in its name"


@dataclass(frozen=True, slots=True)
class Seen:
    """What reached nta-milter of one probe: where, and the results under the verifier's name from the top."""

    listener: str
    results: tuple[str, ...]


def prove(settings: Settings) -> Iterator[Finding]:
    """Probe every configured verifier and keep the proofs; a finding for each that is not proven."""
    proofs = []
    for verifier in settings.verifiers:
        where = f"verifier {verifier.authserv_id} at {verifier.listener}"
        try:
            proof, why = _probed(verifier, settings)
        except (NtaMilterError, OSError, smtplib.SMTPException) as error:
            proof, why = None, str(error)
        if proof is None:
            yield Finding(Level.FAULT, "verifier-not-proven", f"{where}: {why}", MEND)
            continue
        proofs.append(proof)
        if left := [method for method in verifier.methods if method not in proof.methods]:
            text = f"{where} lets forged results of {', '.join(left)} through: it is not believed about them"
            yield Finding(Level.WARNING, "verifier-half-proven", text, "leave them out of its methods")
    if settings.verifiers:
        keep(settings.peer.proofs, proofs)


def unproven(settings: Settings) -> Iterator[Finding]:
    """A finding for each verifier whose proof does not hold now."""
    known = Verifiers(
        settings.verifiers,
        settings.peer.proofs,
        settings.peer.proof_days * 86_400.0,
        settings.routing.postfix,
    )
    for verifier in known.all():
        _, why = known.proof(verifier, time.time())
        if why:
            text = f"verifier {verifier.authserv_id} at {verifier.listener} is not believed: {why}"
            yield Finding(
                Level.WARNING,
                "verifier-not-proven",
                text,
                "prove it now and then",
                "nta-milter doctor --probe",
            )


def _probed(verifier: VerifierSettings, settings: Settings) -> tuple[Proof | None, str]:
    """The proof by two mails, one signed and one not; or why there is none."""
    state = files(settings.routing.postfix)
    read = Postfix(settings.routing.postfix).read()
    if fault := passed_by(read, verifier.listener, postfix_name(settings.milter.socket)):
        return None, fault
    methods, fields = set(verifier.methods), set()
    for signature in ("", SIGNATURE):
        name = secrets.token_hex(16)
        ask(settings.milter.control, EXPECT, name)
        reply = _send(verifier, settings.internal.domains[0], content(verifier, name, signature))
        seen = _seen(verifier, settings, name)
        if seen is None:
            return None, f"the probe did not reach nta-milter: {reply}"
        if seen.listener != verifier.listener:
            return (
                None,
                f"nta-milter sees the probe on {seen.listener or 'no address (milter_connect_macros)'}",
            )
        genuine = [name not in result for result in seen.results]
        on_top = genuine.index(False) if False in genuine else len(genuine)
        if not on_top:
            kind = "signed" if signature else "unsigned"
            return None, f"no {RESULT_HEADER} of it stands on top of a mail that is {kind}"
        if any(genuine[on_top:]):
            return None, f"its {RESULT_HEADER} stands below what came with the mail"
        fields.add(on_top)
        methods -= {
            each for each in FORGED for result in seen.results if f"{each}=pass" in result and name in result
        }
    if not methods:
        return None, f"a forged {RESULT_HEADER} in its name comes through"
    if len(fields) != 1:
        return None, f"it adds now {min(fields)}, now {max(fields)} fields"
    ordered = tuple(method for method in verifier.methods if method in methods)
    return Proof(verifier.authserv_id, verifier.listener, ordered, fields.pop(), time.time(), state), ""


def content(verifier: VerifierSettings, name: str, signature: str) -> bytes:
    """A mail with a forged result of each method, in each form that would be believed, on top and below."""
    forged = []
    for method in verifier.methods:
        claim = f"{method}=pass {FORGED[method]}={name}.invalid"
        forged += [
            f"{RESULT_HEADER}: {verifier.authserv_id}; {claim}\r\n",
            f"{RESULT_HEADER}: {verifier.authserv_id} 1; {claim}\r\n",
            f"{RESULT_HEADER}:\r\n\t{verifier.authserv_id};\r\n\t{claim}\r\n",
        ]
    fields = "".join(forged)
    return (
        f"{fields}{signature}{PROBE_HEADER}: {name}\r\nFrom: probe@probe.invalid\r\n"
        f"Subject: nta-milter doctor\r\nAuto-Submitted: auto-generated\r\n{fields}\r\n"
    ).encode("ascii")


def _send(verifier: VerifierSettings, domain: str, mail: bytes) -> str:
    """Hand a probe in as a stranger would, from the listener's own address; the last reply."""
    host, _, port = verifier.listener.rpartition(":")
    host = host.strip("[]")
    with smtplib.SMTP(host, int(port), "localhost", PATIENCE, source_address=(host, 0)) as client:
        client.ehlo()
        if client.has_extn("starttls"):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # a stranger does not care who answers
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            client.starttls(context=context)
            client.ehlo()
        for command in ("MAIL FROM:<>", f"RCPT TO:<postmaster@{domain}>"):
            code, text = client.docmd(command)
            if code != 250:
                return f"{code} {text.decode('utf-8', 'replace')}"
        code, text = client.data(mail)
        return f"{code} {text.decode('utf-8', 'replace')}"


def _seen(verifier: VerifierSettings, settings: Settings, name: str) -> Seen | None:
    for told in ask(settings.milter.control, TOLD, name).values():
        if told.get("seen"):
            results = told["results"]
            if not isinstance(results, Sequence):
                raise TemporaryError("tells nothing that can be read", where=str(settings.milter.control))
            own = (str(each) for each in results)
            named = tuple(
                each for each in own if each.partition(";")[0].split()[:1] == [verifier.authserv_id]
            )
            return Seen(str(told["listener"]), named)
    return None
