"""``nta-milter record``: the lines to publish in DNS."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from nta_milter.cli.options import add_json
from nta_milter.compliance.publish import (
    Line,
    names,
    read_certificate,
    record_line,
    smimea_line,
    tlsa_line,
)
from nta_milter.errors import ConfigurationError


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "record",
        help="print the lines to publish in DNS: record, TLSA, SMIMEA",
        description="Print the lines to publish in DNS, in zone file form: the NTA 7516 record of a domain, "
        "TLSA records of hosts from a certificate, SMIMEA records of addresses from a certificate.",
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
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Exit 0, or ConfigurationError for what nobody could publish."""
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
