"""Values that each are fine and together, or in their place, are not: pure, every mistake in one sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_address
from zoneinfo import ZoneInfo

from nta_milter.config.libraries import CHECKS, missing
from nta_milter.config.metrics import loopback
from nta_milter.config.model import ListenerSettings, Settings
from nta_milter.config.source import Place

Problem = tuple[Place, str]
"""The key at fault and a sentence that says what is wrong and what to write instead."""

SOCKET_PATH_LIMIT = 107
"""Longest path of a unix socket on Linux, in bytes (unix(7))."""

RESERVED_FIELDS = frozenset(
    ("authentication-results", "content-type", "content-transfer-encoding", "x-nta-route", "x-nta-guard")
)
"""Header fields with a meaning of their own, lower case."""

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")
_FIELD_NAME = re.compile(r"[!-9;-~]+")  # RFC 5322 section 3.6.8
_FIELD_VALUE = re.compile(r"[ -~]*")
_PATTERN = re.compile(r"\*|[^@\s]*@[^@\s]+")
_PAGES = re.compile(r"(https://[a-z0-9.-]+|http://(127\.0\.0\.1|localhost))(:[0-9]{1,5})?")
_PAGES_SOCKET = re.compile(r"unix:(/.+)|inet:([0-9]{1,5})@(127\.0\.0\.1|\[::1\])")
_SOCKET = re.compile(r"unix:(/.+)|inet6?:([0-9]{1,5})@(.+)")
_LISTENER = re.compile(r".+:[0-9]+")
_SERVER = re.compile(r"\[(?P<six>[^\]]+)\](:(?P<port6>[0-9]+))?|(?P<four>[0-9.]+)(:(?P<port4>[0-9]+))?")


def impossible(settings: Settings) -> Iterator[Problem]:
    """Every impossible value or combination of one configuration."""
    checks: tuple[Callable[[Settings], Iterable[Problem]], ...] = (
        _milter,
        _listeners,
        _internal,
        _dns,
        _marks,
        _content,
        _rules,
        _bindings,
        _nta_header,
        _peer,
        _portal,
        _store,
        _notification,
        _metrics,
    )
    for check in checks:
        yield from check(settings)


def server(text: str) -> tuple[str, int] | None:
    """``ADDRESS``, ``ADDRESS:PORT`` or ``[ADDRESS]:PORT`` of a resolver; ``None`` if it is none of them."""
    found = _SERVER.fullmatch(text)
    address = text if found is None else found["six"] or found["four"]
    port = int((found and (found["port6"] or found["port4"])) or 53)
    try:
        return (str(ip_address(address)), port) if 0 < port < 65536 else None
    except ValueError:
        return None


def _milter(settings: Settings) -> Iterator[Problem]:
    place: Place = ("milter", "socket")
    found = _SOCKET.fullmatch(settings.milter.socket)
    if found is None or (found[2] and not 0 < int(found[2]) < 65536):
        yield place, "must be unix:/PATH or inet:PORT@ADDRESS"
    elif found[1] and len(found[1].encode()) > SOCKET_PATH_LIMIT:
        yield place, f"the path of a unix socket has at most {SOCKET_PATH_LIMIT} bytes"
    name = settings.milter.hostname
    if name and not _DOMAIN.fullmatch(name):
        yield ("milter", "hostname"), f"{name} is not a host name in lower case"


def _listeners(settings: Settings) -> Iterator[Problem]:
    if not settings.listeners:
        yield ("listeners",), "must not be empty; leave it out to have all three sides"
    seen: set[str] = set()
    for index, listener in enumerate(settings.listeners):
        if listener.side in seen:
            yield ("listeners", index, "side"), f"{listener.side} is described twice"
        seen.add(listener.side)
        yield from _connector(("listeners", index), listener)


def _connector(place: Place, listener: ListenerSettings) -> Iterator[Problem]:
    """Whoever shares a provider's hosts has its certificate too: a mark must tell our mail from theirs."""
    yield from _field_name((*place, "secret_header"), listener.secret_header)
    if listener.side != "connector":
        return
    if not listener.tls_names:
        yield (*place, "tls_names"), "must name the provider's client certificate"
    if not listener.organisations and not listener.secret_header:
        yield (
            (*place, "organisations"),
            "must not be empty without secret_header: a provider's other customers use the same certificate",
        )


def _internal(settings: Settings) -> Iterator[Problem]:
    for name in ("domains", "sender_domains"):
        for domain in getattr(settings.internal, name):
            if not _DOMAIN.fullmatch(domain):
                yield ("internal", name), f"{domain} is not a domain in lower case (xn-- for other letters)"
    for login, addresses in settings.internal.delegates.items():
        for address in addresses:
            if address == "*" or not _PATTERN.fullmatch(address):
                yield ("internal", "delegates", login), f"{address} is neither an address nor @domain"


def _dns(settings: Settings) -> Iterator[Problem]:
    dns = settings.dns
    servers = {text: server(text) for text in dns.servers}
    for text, found in servers.items():
        if found is None:
            yield (
                ("dns", "servers"),
                f"{text} is not an ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT of a resolver",
            )
    addresses = [ip_address(found[0]) for found in servers.values() if found is not None]
    if not dns.servers:
        yield ("dns", "servers"), "must not be empty"
    elif addresses and not any(address in network for address in addresses for network in dns.trusted):
        yield (
            ("dns", "trusted"),
            "holds none of dns.servers, so that no answer could be secure and no domain compliant",
        )
    if dns.lifetime < dns.timeout:
        yield ("dns", "lifetime"), f"must be at least dns.timeout ({dns.timeout} s)"
    if dns.deadline < dns.lifetime:
        yield ("dns", "deadline"), f"must be at least dns.lifetime ({dns.lifetime} s)"
    if dns.deadline >= settings.milter.timeout:
        yield ("dns", "deadline"), f"must be less than milter.timeout ({settings.milter.timeout} s)"


def _marks(settings: Settings) -> Iterator[Problem]:
    policy = settings.policy
    yield from _field_name(("policy", "mark_header"), policy.mark_header)
    if any(not tag.strip() for tag in policy.subject_tags):
        yield ("policy", "subject_tags"), "holds an empty tag, which every Subject begins with"
    rule_marks = any(rule.sensitive == "yes" for rule in settings.rules)
    has_marks = policy.mark_header or policy.subject_tags or policy.msip_labels or rule_marks
    if policy.mode == "marked" and not has_marks:
        yield (
            ("policy", "mode"),
            "is marked, and there is no mark: give mark_header, subject_tags, msip_labels or a rule",
        )


def _content(settings: Settings) -> Iterator[Problem]:
    policy = settings.policy
    if any(not word.strip() for word in policy.words):
        yield ("policy", "words"), "holds an empty word"
    if not policy.patient_number:
        return
    place: Place = ("policy", "patient_number")
    try:
        if re.compile(policy.patient_number).search(""):
            yield place, "matches an empty text, which would make every mail sensitive"
    except (re.error, OverflowError, RecursionError) as error:
        yield place, f"is not a regular expression: {error}"


def _rules(settings: Settings) -> Iterator[Problem]:
    names: set[str] = set()
    for index, rule in enumerate(settings.rules):
        place: Place = ("rules", index)
        if not rule.name.strip():
            yield (*place, "name"), "must not be empty"
        elif rule.name in names:
            yield (*place, "name"), f"{rule.name} is the name of an earlier rule"
        names.add(rule.name)
        for side in ("sender", "recipient"):
            pattern = getattr(rule, side)
            if not _PATTERN.fullmatch(pattern):
                yield (*place, side), f"{pattern} is neither an address nor @domain nor *"
        if rule.sensitive == "no" and rule.route:
            yield (*place, "route"), "has no meaning for mail that sensitive = no exempts"


def _bindings(settings: Settings) -> Iterator[Problem]:
    for name, addresses in settings.smime.bindings.items():
        place: Place = ("smime", "bindings", name)
        if "/" in name or name in ("", ".", ".."):
            yield place, "must be the name of a file in the folder smime.keys"
        for address in addresses:
            if address == "*" or not _PATTERN.fullmatch(address):
                yield place, f"{address} is neither an address nor @domain"


def _nta_header(settings: Settings) -> Iterator[Problem]:
    header = settings.nta_header
    yield from _field_name(("nta_header", "name"), header.name)
    if not _FIELD_VALUE.fullmatch(header.value):
        yield ("nta_header", "value"), "may hold printable ASCII only"
    if bool(header.name) != bool(header.value):
        yield (
            ("nta_header", "value" if header.name else "name"),
            "must be given: a header field needs name and value",
        )


def _peer(settings: Settings) -> Iterator[Problem]:
    peer = settings.peer
    for check in CHECKS:
        if getattr(peer, check) == "enforce" and (absent := missing(check)):
            yield ("peer", check), f"needs {' and '.join(map(str, absent))}; install it or write mark or off"
    for index, verifier in enumerate(settings.verifiers):
        place: Place = ("verifiers", index)
        if not _DOMAIN.fullmatch(verifier.authserv_id):
            yield (*place, "authserv_id"), f"{verifier.authserv_id} is not a host name in lower case"
        if not _LISTENER.fullmatch(verifier.listener) or server(verifier.listener) is None:
            yield (*place, "listener"), f"{verifier.listener} is not an ADDRESS:PORT or [ADDRESS]:PORT"
    if peer.header != "off" and not settings.nta_header.name:
        yield ("peer", "header"), "needs to know which one: give nta_header.name and nta_header.value"


def _portal(settings: Settings) -> Iterator[Problem]:
    url = settings.portal.url
    if url and not _PAGES.fullmatch(url):
        yield (
            ("portal", "url"),
            f"{url} is not https://NAME, without a path and without a slash at the end "
            "(http:// on 127.0.0.1 or localhost only)",
        )
    if settings.portal.sms_command and not settings.portal.sms_command[0].startswith("/"):
        yield ("portal", "sms_command"), "must begin with the full path of a program"
    found = _PAGES_SOCKET.fullmatch(settings.portal.socket)
    if found is None or (found[2] and not 0 < int(found[2]) < 65536):
        yield ("portal", "socket"), "must be unix:/PATH or inet:PORT@127.0.0.1"
    elif found[1] and len(found[1].encode()) > SOCKET_PATH_LIMIT:
        yield ("portal", "socket"), f"the path of a unix socket has at most {SOCKET_PATH_LIMIT} bytes"
    try:
        ZoneInfo(settings.portal.timezone)
    except (LookupError, ValueError, OSError):
        yield (
            ("portal", "timezone"),
            f"{settings.portal.timezone} is not a time zone such as Europe/Amsterdam",
        )


def _store(settings: Settings) -> Iterator[Problem]:
    if settings.audit.retention and settings.audit.target != "store":
        yield ("audit", "retention"), 'is for audit.target = "store"; logrotate removes old files (maxage)'
    if settings.store.url:
        return
    for place, needs in (
        (("portal", "url"), bool(settings.portal.url)),
        (("audit", "target"), settings.audit.target == "store"),
    ):
        if needs:
            yield place, "needs a store: give store.url"


def _notification(settings: Settings) -> Iterator[Problem]:
    sender, domain = settings.notification.sender, settings.notification.domain
    if sender and (not _PATTERN.fullmatch(sender) or sender[0] in "@*" or not sender.isascii()):
        yield ("notification", "sender"), f"{sender} is not an address"
    if domain and not _DOMAIN.fullmatch(domain):
        yield ("notification", "domain"), f"{domain} is not a domain in lower case"
    path = str(settings.worker.socket)
    if len(path.encode()) > SOCKET_PATH_LIMIT:
        yield ("worker", "socket"), f"{path} is longer than {SOCKET_PATH_LIMIT} bytes"


def _metrics(settings: Settings) -> Iterator[Problem]:
    seen: set[str] = set()
    for name in ("milter", "worker", "portal"):
        place = getattr(settings.metrics, name)
        if place and loopback(place) is None:
            yield ("metrics", name), f"{place} is not an ADDRESS:PORT on loopback such as 127.0.0.1:9716"
        elif place in seen:
            yield ("metrics", name), f"{place} is another service's already"
        seen.update({place} - {""})


def _field_name(place: Place, name: str) -> Iterator[Problem]:
    if name and not _FIELD_NAME.fullmatch(name):
        yield place, f"{name} is not the name of a header field (printable ASCII without a colon)"
    if name.lower() in RESERVED_FIELDS:
        yield place, f"{name} has a meaning of its own; choose another name"
