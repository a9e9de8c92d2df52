"""``nta-milter explain``: what would become of a message for each recipient, with every reason."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from nta_milter.cli.options import EXIT_NO, EXIT_TEMPORARY, add_config, add_json, loaded, moment
from nta_milter.compliance.report import reasons_to_json, to_json
from nta_milter.config.model import NtaHeaderSettings
from nta_milter.errors import MessageError
from nta_milter.message.headers import Headers, split
from nta_milter.message.model import Message, Recipient
from nta_milter.outbound.inspect import inspect
from nta_milter.outbound.plan import Destination, Plan, plan
from nta_milter.policy.client import Client
from nta_milter.policy.route import Route
from nta_milter.policy.snapshot import Snapshot, build


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "explain", help="say what would become of a message, for each recipient and why"
    )
    add_config(parser)
    parser.add_argument("--from", dest="sender", required=True, metavar="ADDRESS", help="the sender")
    parser.add_argument(
        "--to",
        dest="recipients",
        required=True,
        nargs="+",
        action="extend",
        metavar="ADDRESS",
        help="the recipients; may be repeated",
    )
    parser.add_argument(
        "--message", type=Path, metavar="FILE", help="the message; without it, one that is marked sensitive"
    )
    parser.add_argument("--login", metavar="NAME", help="login of the client; the sender's address otherwise")
    parser.add_argument("--resolver", metavar="ADDRESS:PORT", help="ask this resolver, not those of [dns]")
    parser.add_argument("--at", type=moment, metavar="TIME", help="decide as at this moment (ISO 8601)")
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Exit 0 when every recipient gets the message, 1 when one is refused, 75 when one must wait."""
    settings = loaded(arguments).settings
    if arguments.resolver:
        settings = dataclasses.replace(
            settings, dns=dataclasses.replace(settings.dns, servers=(arguments.resolver,))
        )
    snapshot = build(settings)
    at = arguments.at or datetime.now(UTC)
    message = _message(arguments, snapshot)
    client = Client("outbound", login=arguments.login or arguments.sender)
    inspection = inspect(message, client, snapshot, every=True)
    reports = snapshot.compliance.reports(inspection.domains, at, settings.dns.deadline)
    routing = snapshot.routing.current() if inspection.needs_route else None
    made = plan(inspection, reports, client, snapshot, routing, at)
    for destination in made.destinations:
        if arguments.json:
            print(json.dumps(as_json(destination, made, settings.nta_header), ensure_ascii=False))
        else:
            print(as_text(destination, made, settings.nta_header))
    routes = {destination.decision.route for destination in made.destinations} | {made.combined.route}
    if len(made.destinations) > 1 and not arguments.json:
        print(_together(made))
    if Route.REJECT in routes:
        return EXIT_NO
    return EXIT_TEMPORARY if Route.TEMPFAIL in routes else 0


def _together(made: Plan) -> str:
    """What becomes of the whole message, since libmilter has one reply and one body for all recipients."""
    if made.combined.apart:
        return "all together: taken; who needs it gets a copy of his own, when Postfix has queued the message"
    return f"all together: {made.combined.route.value}\n  because      {made.combined.text}"


def _message(arguments: argparse.Namespace, snapshot: Snapshot) -> Message:
    recipients = tuple(Recipient(address) for address in arguments.recipients)
    if arguments.message is None:
        headers = (
            Headers()
            .add("From", arguments.sender)
            .add("To", ", ".join(arguments.recipients))
            .add("Subject", "")
            .add(snapshot.settings.policy.mark_header, "yes")
        )
        return Message(arguments.sender, (), recipients, headers, b"")
    try:
        data = sys.stdin.buffer.read() if str(arguments.message) == "-" else arguments.message.read_bytes()
    except OSError as error:
        raise MessageError(f"cannot be read: {error.strerror}", where=str(arguments.message)) from error
    headers, start = split(data)
    return Message(arguments.sender, (), recipients, headers, memoryview(data)[start:])


def as_json(destination: Destination, made: Plan, mark: NtaHeaderSettings) -> dict[str, object]:
    """One recipient's object; ``mark`` is the header field that compliant parties have agreed on."""
    sensitivity = destination.addressee.sensitivity
    report = destination.report
    compliance = None
    if report is not None:
        described = to_json(report)
        compliance = {key: described[key] for key in ("status", "reasons", "record", "hosts")}
    return {
        "recipient": destination.decision.recipient,
        "route": destination.decision.route.value,
        "sensitive": {"value": sensitivity.value, "reasons": reasons_to_json(sensitivity.reasons)},
        "compliance": compliance,
        "certificate": _certificate(destination, made),
        "header": {"name": mark.name, "value": mark.value} if _is_marked(destination, mark) else None,
        "reasons": reasons_to_json(destination.decision.reasons),
    }


def _is_marked(destination: Destination, mark: NtaHeaderSettings) -> bool:
    """Whether what leaves carries the agreed field: only what goes to a compliant domain by its hosts."""
    return bool(mark.name) and destination.decision.route in (Route.SMIME, Route.DANE)


def _certificate(destination: Destination, made: Plan) -> dict[str, object] | None:
    found = destination.found
    if found is None or found.certificate is None:
        return None
    certificate = found.certificate.certificate
    return {
        "class": found.certificate.certificate_class,
        "subject": certificate.subject,
        "not_after": certificate.not_after.isoformat(),
        "signer": made.signer.certificate.subject if made.signer is not None else None,
    }


def as_text(destination: Destination, made: Plan, mark: NtaHeaderSettings) -> str:
    """One recipient's answer in words."""
    decision = destination.decision
    lines = [f"{decision.recipient}: {decision.route.value}"]
    sensitivity = destination.addressee.sensitivity
    lines.append(f"  sensitive    {'yes' if sensitivity.value else 'no'}")
    lines += [f"               - {reason.text}" for reason in sensitivity.reasons]
    if destination.report is not None:
        lines.append(f"  compliance   {destination.report.status.value}")
        lines += [f"               - {reason.text}" for reason in destination.report.reasons]
        for host in destination.report.hosts:
            state = "usable" if host.usable else "; ".join(reason.text for reason in host.reasons)
            lines.append(f"               - {host.name}: {state}")
    certificate = _certificate(destination, made)
    if certificate is not None:
        lines.append(f"  certificate  {certificate['class']}, {certificate['subject']}")
        lines.append(f"  signed by    {certificate['signer'] or 'nobody'}")
    if _is_marked(destination, mark):
        lines.append(f"  header       {mark.name}: {mark.value}")
    shown = set(destination.report.reasons) if destination.report is not None else set()
    lines += [f"  because      {reason.text}" for reason in decision.reasons if reason not in shown]
    return "\n".join(lines)
