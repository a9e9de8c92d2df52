"""``nta-milter check``: is a domain compliant, and if not, what is the matter and how is it mended?"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import cast

from nta_milter.cli.options import EXIT_NO, EXIT_TEMPORARY, add_json, moment
from nta_milter.compliance import probe as probing
from nta_milter.compliance.codes import Kind
from nta_milter.compliance.dane import Tlsa, tlsa_name
from nta_milter.compliance.domain import ComplianceLookup
from nta_milter.compliance.probe import ProbeReport, probe
from nta_milter.compliance.reasons import explanation
from nta_milter.compliance.report import Compliance, ComplianceReport, HostReport, Reason, to_json
from nta_milter.config.model import DnsSettings
from nta_milter.lookup.resolver import DnsResolver

WORDS = {
    Compliance.COMPLIANT: "compliant: mail with health data can be sent there directly",
    Compliance.NOT_COMPLIANT: "not compliant",
    Compliance.UNKNOWN: "unknown: it cannot be established now",
}
MARKS = {Kind.REFUSAL: "FAIL", Kind.UNKNOWN: "WAIT", Kind.REMARK: "NOTE"}


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "check",
        help="say whether domains are compliant, and what is the matter",
        description="Look up whether mail domains are compliant with the technical agreements of NTA 7516: "
        "record, receiving hosts, DNSSEC and DANE. Needs no configuration file. Exit status 0 if all are "
        "compliant, 75 if something cannot be established now, 1 otherwise.",
    )
    parser.add_argument("domains", nargs="+", metavar="DOMAIN", help="what follows the @ of an address")
    parser.add_argument(
        "--resolver",
        action="append",
        metavar="ADDRESS:PORT",
        help="validating resolver to ask; its word on DNSSEC counts on loopback only; may be repeated "
        "(127.0.0.1 if left out)",
    )
    parser.add_argument("--at", type=moment, metavar="TIME", help="judge as at this moment (ISO 8601)")
    parser.add_argument(
        "--probe", action="store_true", help="connect to each usable host and compare its certificate too"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Exit 0 when every domain is compliant, 75 when something is unknown, 1 otherwise."""
    settings = DnsSettings(servers=tuple(arguments.resolver or DnsSettings.servers))
    lookup = ComplianceLookup.from_settings(settings)
    at = arguments.at or datetime.now(UTC)
    # Nobody waits for an answer here, so the look-ups may take all the time that they take.
    reports = lookup.reports(arguments.domains, at, 60.0 + len(arguments.domains))
    status = 0
    for domain in arguments.domains:
        report = reports[domain]
        probes = _probes(report, settings) if arguments.probe else None
        if arguments.json:
            described = to_json(report)
            if probes is not None:
                described["probes"] = [probing.to_json(each) for each in probes]
            print(json.dumps(described, ensure_ascii=False))
        else:
            print("\n".join(_describe(report, probes, lookup)))
        if report.status is Compliance.UNKNOWN:
            status = EXIT_TEMPORARY
        elif report.status is Compliance.NOT_COMPLIANT or _all_failed(probes):
            status = status or EXIT_NO
    return status


def _probes(report: ComplianceReport, settings: DnsSettings) -> list[ProbeReport]:
    resolver = DnsResolver.from_settings(settings)
    results = []
    for host in report.hosts:
        if not host.usable:
            continue
        answers = [resolver.query(host.name, rdtype) for rdtype in ("A", "AAAA")]
        canonical = next((each.canonical for each in answers if each.canonical), host.name)
        records: list[Tlsa] = []
        for name in dict.fromkeys((canonical, host.name)):
            answer = resolver.query(tlsa_name(name), "TLSA")
            if answer.secure and not records:
                records = [cast(Tlsa, record) for record in answer.records]
        for address in (cast(str, address) for each in answers for address in each.records):
            results.append(probe(host.name, address, records, names=(canonical, report.domain)))
    return results


def _all_failed(probes: list[ProbeReport] | None) -> bool:
    return probes is not None and not any(each.passed for each in probes)


def _describe(
    report: ComplianceReport, probes: list[ProbeReport] | None, lookup: ComplianceLookup
) -> Iterator[str]:
    yield f"{report.domain}: {WORDS[report.status]}"
    yield f"  {_mark(lookup.proof().proven)} resolver: {lookup.proof().reason}"
    if report.secure is not None:
        yield f"  {_mark(report.secure)} DNSSEC: the answer about the record is " + (
            "secure" if report.secure else "not secure"
        )
    record = report.record
    if record is not None:
        yield (
            f"  {_mark(True)} record well-formed: {record.version}, {record.startdate} up to and including "
            + (f"{record.enddate}, provider {record.provider or 'not named'}")
        )
        hosts = ", ".join(f"{host} ({preference})" for preference, host in record.ntamx)
        yield f"       receiving hosts: {hosts or 'the ordinary MX hosts'}"
    for reason in report.reasons:
        yield from _explain(reason, "  ")
    for host in report.hosts:
        yield from _describe_host(host)
    for each in probes or ():
        yield from _describe_probe(each)
    yield f"  holds for {report.ttl} s"
    yield ""


def _describe_host(host: HostReport) -> Iterator[str]:
    mark = MARKS[Kind.UNKNOWN] if host.secure is None else _mark(host.usable)
    yield f"  {mark} host {host.name}: " + ("addresses and TLSA are secure" if host.usable else "not usable")
    for record in host.tlsa:
        yield f"       TLSA {record}"
    for reason in host.reasons:
        yield from _explain(reason, "    ")


def _describe_probe(report: ProbeReport) -> Iterator[str]:
    encryption = f"{report.protocol} {report.cipher}" if report.protocol else "no TLS"
    yield f"  {_mark(report.passed)} probe of {report.host} [{report.address}]: {encryption}" + (
        f", certificate matches TLSA {report.matched}" if report.passed else ""
    )
    for reason in report.reasons:
        yield from _explain(reason, "    ")


def _explain(reason: Reason, indent: str) -> Iterator[str]:
    known = explanation(reason)
    yield f"{indent}{MARKS[known.kind]} {reason.text} [{reason.code}]"
    yield f"{indent}     why: {known.why}"
    yield f"{indent}     mend: {known.mend}"


def _mark(good: bool) -> str:
    return "ok  " if good else "FAIL"
