"""``nta-milter record``: the lines to publish in DNS, and whether they are."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from nta_milter.cli.options import EXIT_NO, EXIT_TEMPORARY, add_config, add_json, loaded, moment
from nta_milter.compliance.codes import Kind
from nta_milter.compliance.domain import ComplianceLookup
from nta_milter.compliance.own import (
    Finding,
    check_dkim,
    check_dmarc,
    check_record,
    check_smimea,
    check_spf,
    check_tlsa,
    to_json,
)
from nta_milter.compliance.publish import (
    Line,
    names,
    read_certificate,
    record_line,
    smimea_line,
    tlsa_line,
)
from nta_milter.compliance.reasons import explanation
from nta_milter.config.model import Settings
from nta_milter.config.secrets import secret
from nta_milter.errors import ConfigurationError
from nta_milter.lookup.name import domain_name, is_host_name
from nta_milter.lookup.resolver import DnsResolver
from nta_milter.smime.keystore import KeyRing


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "record",
        help="print the lines to publish in DNS: record, TLSA, SMIMEA; or check what is published",
        description="Print the lines to publish in DNS, in zone file form: the NTA 7516 record of a domain, "
        "TLSA records of hosts from a certificate, SMIMEA records of addresses from a certificate. With "
        "--check: compare what is published with what we are. Exit status 0 if all is well, 75 if something "
        "cannot be established now, 1 otherwise.",
    )
    record = parser.add_argument_group("NTA 7516 record")
    record.add_argument("--domain", metavar="DOMAIN", help="the mail domain")
    record.add_argument("--startdate", metavar="YYYY-MM", help="first month in which the record counts")
    record.add_argument("--enddate", metavar="YYYY-MM", help="last month in which the record counts")
    record.add_argument("--provider", metavar="NAME", help="name of the communication service")
    record.add_argument(
        "--ntamx",
        action="append",
        default=[],
        metavar="'PREFERENCE HOST'",
        help="host that receives under the agreement; lowest preference first; may be repeated "
        "(the ordinary MX hosts if left out)",
    )
    tlsa = parser.add_argument_group("TLSA records (RFC 7672)")
    tlsa.add_argument("--tlsa", type=Path, metavar="FILE", help="certificate of the hosts, PEM or DER")
    tlsa.add_argument(
        "--host",
        action="append",
        metavar="HOST",
        help="host that uses the certificate; may be repeated (the ntamx hosts if left out, else those that "
        "the certificate names)",
    )
    smimea = parser.add_argument_group("SMIMEA records (RFC 8162)")
    smimea.add_argument("--smimea", type=Path, metavar="FILE", help="S/MIME certificate, PEM or DER")
    smimea.add_argument(
        "--address",
        action="append",
        metavar="ADDRESS",
        help="address that uses the certificate; may be repeated (those that it names if left out)",
    )
    check = parser.add_argument_group("what is published")
    check.add_argument(
        "--check",
        action="store_true",
        help="check our sender domains, or --domain: record, hosts, SPF, DMARC, SMIMEA of our keys; TLSA "
        "with --tlsa, DKIM with --dkim",
    )
    check.add_argument(
        "--dkim",
        action="append",
        default=[],
        metavar="SELECTOR",
        help="selector that our mail is signed with; may be repeated",
    )
    check.add_argument("--resolver", metavar="ADDRESS:PORT", help="ask this resolver, not those of [dns]")
    check.add_argument("--at", type=moment, metavar="TIME", help="judge as at this moment (ISO 8601)")
    add_config(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print lines, or check: 0 = well, 1 = not, 75 = unknown; ConfigurationError if nobody can publish it."""
    if arguments.check:
        return _check(arguments)
    lines = [*_record(arguments), *_tlsa(arguments), *_smimea(arguments)]
    if not lines:
        raise ConfigurationError(
            "give --domain with its months, --tlsa FILE or --smimea FILE", where="record"
        )
    for line in lines:
        if arguments.json:
            described = {"name": line.name, "type": line.rdtype, "data": line.data}
            print(json.dumps(described, ensure_ascii=False))
        else:
            print(line)
    return 0


def _record(arguments: argparse.Namespace) -> Iterator[Line]:
    given = arguments.domain or arguments.startdate or arguments.enddate
    if not given and not arguments.provider:
        return
    if not (arguments.domain and arguments.startdate and arguments.enddate):
        raise ConfigurationError("needs --domain, --startdate and --enddate", where="record")
    yield record_line(
        arguments.domain,
        startdate=arguments.startdate,
        enddate=arguments.enddate,
        provider=arguments.provider,
        ntamx=arguments.ntamx,
    )


def _tlsa(arguments: argparse.Namespace) -> Iterator[Line]:
    if arguments.tlsa is None:
        return
    certificate = read_certificate(arguments.tlsa)
    ntamx = [each.split()[-1] for each in arguments.ntamx if each.strip()]
    hosts = arguments.host or ntamx or names(certificate)[0]
    if not hosts:
        raise ConfigurationError("names no host; give --host HOST", where=str(arguments.tlsa))
    for host in hosts:
        yield tlsa_line(host, certificate)


def _smimea(arguments: argparse.Namespace) -> Iterator[Line]:
    if arguments.smimea is None:
        return
    certificate = read_certificate(arguments.smimea)
    addresses = arguments.address or names(certificate)[1]
    if not addresses:
        raise ConfigurationError("names no address; give --address ADDRESS", where=str(arguments.smimea))
    for address in addresses:
        yield smimea_line(address, certificate)


def _check(arguments: argparse.Namespace) -> int:
    settings = loaded(arguments).settings
    if arguments.resolver:
        dns = dataclasses.replace(settings.dns, servers=(arguments.resolver,))
        settings = dataclasses.replace(settings, dns=dns)
    status = 0
    for finding in _findings(arguments, settings):
        kinds = {explanation(each).kind for each in finding.reasons}
        if arguments.json:
            print(json.dumps(to_json(finding), ensure_ascii=False))
        else:
            print("\n".join(_describe(finding)))
        if Kind.UNKNOWN in kinds and Kind.REFUSAL not in kinds:
            status = EXIT_TEMPORARY
        elif Kind.REFUSAL in kinds:
            status = status or EXIT_NO
    return status


def _findings(arguments: argparse.Namespace, settings: Settings) -> Iterator[Finding]:
    internal = settings.internal
    domains = [arguments.domain] if arguments.domain else internal.sender_domains or internal.domains
    if not domains:
        raise ConfigurationError("names no domain; give --domain DOMAIN", where="internal.domains")
    lookup = ComplianceLookup.from_settings(settings.dns)
    ask = DnsResolver.from_settings(settings.dns).query
    certificates = _certificates(settings)
    at = arguments.at or datetime.now(UTC)
    hosts: list[str] = []
    for domain in domains:
        report = lookup.report(domain, at)
        yield check_record(report, at, lookup.timezone)
        hosts += [host.name for host in report.hosts if is_host_name(host.name)]
        yield check_spf(report.domain, ask)
        yield check_dmarc(report.domain, ask)
        for selector in arguments.dkim:
            yield check_dkim(report.domain, selector, ask)
        for address, own in certificates.items():
            if domain_name(address.rpartition("@")[2]) == report.domain:
                yield check_smimea(address, own, ask)
    if arguments.tlsa is not None:
        certificate = read_certificate(arguments.tlsa)
        for host in arguments.host or dict.fromkeys(hosts):
            yield check_tlsa(host, certificate, ask)


def _certificates(settings: Settings) -> dict[str, list[x509.Certificate]]:
    """The certificates of our key store by address, the one that is valid longest first."""
    password = secret("keys-password", settings)
    passwords = () if password is None else (password,)
    ring = KeyRing.load(settings.smime.keys, passwords=passwords, bindings=settings.smime.bindings)
    found: dict[str, list[x509.Certificate]] = {}
    for key in sorted(ring.keys, key=lambda each: each.certificate.not_after, reverse=True):
        for address in key.certificate.emails:
            found.setdefault(address, []).append(x509.load_der_x509_certificate(key.certificate.der))
    return found


def _describe(finding: Finding) -> Iterator[str]:
    marks = {Kind.REFUSAL: "FAIL", Kind.UNKNOWN: "WAIT", Kind.REMARK: "NOTE"}
    if not finding.reasons:
        yield f"ok   {finding.subject}"
    for reason in finding.reasons:
        known = explanation(reason)
        yield f"{marks[known.kind]} {finding.subject}: {reason.text} [{reason.code}]"
        yield f"     why: {known.why}"
        yield f"     mend: {known.mend}"
    if finding.line is not None:
        yield f"     publish: {finding.line}"
