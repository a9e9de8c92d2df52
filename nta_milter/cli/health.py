"""What an administrator must do, judged from what the running services tell: pure, and nothing is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from nta_milter import __version__
from nta_milter.cli.doctor import EXPIRES_SOON
from nta_milter.compliance.own import WARNING
from nta_milter.compliance.verdict import month_ends
from nta_milter.config.model import Settings
from nta_milter.monitor.process import fingerprint

Answers = Mapping[str, Mapping[str, Any]]
"""The answers of a service's processes, by the names of their sockets; none where it does not answer."""

UNITS = {"milter": "nta-milter", "worker": "nta-worker", "portal": "nta-portal"}
LATE = timedelta(minutes=10)
"""A duty of the worker that was not done for so long, or mail that waits so long for Postfix, is late."""
COMMIT_LATE = timedelta(minutes=2)
"""A commit in Postfix's queue should be gone in a moment."""


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that needs an administrator: a code, what it is, and the mend."""

    code: str
    text: str
    mend: str


def wanted(settings: Settings) -> tuple[str, ...]:
    """The services that this configuration needs."""
    return (
        "milter",
        *(("worker",) if settings.store.url else ()),
        *(("portal",) if settings.portal.url else ()),
    )


def judge(settings: Settings, files: str, services: Mapping[str, Answers], at: datetime) -> Iterator[Concern]:
    """Every concern. ``settings`` and ``files`` (their fingerprint) are those on disk."""
    for name in wanted(settings):
        if not services.get(name):
            unit = UNITS[name]
            yield Concern(
                f"{name}-down",
                f"{unit} does not answer",
                f"systemctl start {unit}.service; journalctl -u {unit} says why it does not run"
                + (
                    ""
                    if name == "milter"
                    else " (without its key, which nta-milter store init makes, it is skipped)"
                ),
            )
    for name, answers in services.items():
        for answer in answers.values():
            yield from _common(name, answer, settings)
    for answer in list(services.get("milter", {}).values()):
        yield from _milter(answer, files, ZoneInfo(settings.dns.timezone), at)
    running = len(services.get("milter", {}))
    if 0 < running < settings.milter.workers:
        yield Concern(
            "processes-missing",
            f"{running} of {settings.milter.workers} processes of the milter answer",
            "journalctl -u nta-milter says why one ended; changed milter.workers needs a restart",
        )
    for answer in services.get("worker", {}).values():
        yield from _worker(answer, settings, at)


def _common(name: str, answer: Mapping[str, Any], settings: Settings) -> Iterator[Concern]:
    unit = UNITS[name]
    if answer["version"] != __version__:
        yield Concern(
            f"{name}-version",
            f"{unit} runs version {answer['version']}, installed is {__version__}",
            f"systemctl restart {unit}.service",
        )
    if answer["configuration"]["settings"] != fingerprint(settings):
        action = "reload" if name == "milter" else "restart"
        yield Concern(
            f"{name}-configuration",
            f"{unit} does not use the configuration that is on disk",
            f"nta-milter config check && systemctl {action} {unit}.service",
        )


def _milter(answer: Mapping[str, Any], files: str, timezone: tzinfo, at: datetime) -> Iterator[Concern]:
    if answer["configuration"]["files"] != files:
        yield Concern(
            "milter-files",
            "a key, certificate, authority or word file was changed after the milter had read it",
            "systemctl reload nta-milter.service",
        )
    if answer["reload_refused"]:
        yield Concern(
            "reload-refused",
            f"the last reload was refused, and what was before is in force: {answer['reload_refused']}",
            "mend what it says, then systemctl reload nta-milter.service",
        )
    if answer["restart_needed"]:
        yield Concern(
            "milter-restart",
            f"changed and not in force before a restart: {', '.join(answer['restart_needed'])}",
            "systemctl restart nta-milter.service",
        )
    proven = answer["proven"] or {"routing": [], "resolver": ""}
    if faults := proven["routing"]:
        more = f" (and {len(faults) - 1} faults more)" if len(faults) > 1 else ""
        yield Concern(
            "routing-not-proven", f"sensitive mail is not routed: {faults[0]}{more}", "nta-milter doctor"
        )
    if proven["resolver"]:
        yield Concern(
            "resolver-not-proven", f"no domain counts as compliant: {proven['resolver']}", "nta-milter doctor"
        )
    for key in answer["keys"]:
        left = datetime.fromisoformat(key["until"]) - at
        if left < EXPIRES_SOON:
            when = f"{key['until'][:10]}"
            yield Concern(
                "key-expires",
                f"the newest certificate of {key['address']} "
                + (f"expired on {when}" if left < timedelta(0) else f"expires on {when}"),
                "renew it (nta-milter keys request, keys import); keep the old file",
            )
    for domain, enddate in answer["records"].items():
        if enddate and month_ends(enddate, timezone) <= at + WARNING:
            yield Concern(
                "record-ends",
                f"the NTA 7516 record of {domain} ends with {enddate}",
                f"publish a new enddate: nta-milter record --domain {domain}",
            )


def _worker(answer: Mapping[str, Any], settings: Settings, at: datetime) -> Iterator[Concern]:
    interval = timedelta(seconds=settings.worker.interval)
    for duty, each in answer["rounds"].items():
        late = at - datetime.fromisoformat(each["at"])
        if each["fault"]:
            yield Concern("duty-failed", f"the worker's duty {duty} failed: {each['fault']}", _SEE_WORKER)
        elif late > LATE + interval * 20:
            yield Concern("duty-late", f"the worker's duty {duty} was not done for {late}", _SEE_WORKER)
    commits = answer["commits"]
    if commits["oldest"] and at - datetime.fromisoformat(commits["oldest"]) > COMMIT_LATE:
        yield Concern(
            "commit-late",
            f"Postfix holds {commits['queued']} commits, the oldest since {commits['oldest']}",
            "postqueue -p says why; Postfix must reach the worker: systemctl status nta-worker.socket",
        )
    store = answer["store"]
    if store["fault"]:
        yield Concern("store-fault", f"the store cannot be read: {store['fault']}", _SEE_WORKER)
        return
    if shunted := store["outbox"].get("shunted", 0):
        yield Concern(
            "shunted",
            f"our own Postfix refused {shunted} mails too often, and they were set aside",
            "nta-milter outbox list says why; mend it, then nta-milter outbox retry",
        )
    for what, text in (
        ("commit", "stored mail waits for Postfix to say that it queued the message"),
        ("outbox", "mail waits to be handed to Postfix"),
    ):
        since = store["oldest"][what]
        if since and at - datetime.fromisoformat(since) > LATE:
            yield Concern(f"{what}-waits", f"{text}, since {since}", "nta-milter outbox list")


_SEE_WORKER = "journalctl -u nta-worker"
