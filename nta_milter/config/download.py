"""The settings of secure download: the store, the portal, its mails, and the worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nta_milter.config.key import IPNetwork, key


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """``[store]``: where messages wait or can be fetched, sealed."""

    url: str = key(
        "database: sqlite:////PATH, or postgresql://NAME@HOST/DATABASE for several hosts; empty = no store, "
        "and mail that needs one is not accepted",
        default="",
        example='"sqlite:////var/lib/nta-milter/store.sqlite"',
    )
    blobs: Path = key("folder of the sealed content", default=Path("/var/lib/nta-milter/blobs"))
    public: Path = key(
        "folder of the public keys that content is sealed to, portal.pem and worker.pem",
        default=Path("/etc/nta-milter/public"),
    )
    forget_after: int = key(
        "time that the rows of a message are kept after its content is gone; at least 7 days, in which "
        "reports about it may come or are still to be sent",
        default=90,
        unit="days",
        minimum=0,
        maximum=36_500,
    )


@dataclass(frozen=True, kw_only=True)
class PortalSettings:
    """``[portal]``: the pages where a recipient opens a message."""

    url: str = key(
        "address of the pages as a recipient sees it; empty = no portal, and mail that needs one is refused",
        default="",
        example='"https://veilig.care.test"',
    )
    lifetime: int = key(
        "time that a message can be opened", default=30, unit="days", minimum=1, maximum=3_650
    )
    remind: int = key(
        "time before a message expires when who has not opened it is reminded; 0 = never",
        default=5,
        unit="days",
        minimum=0,
        maximum=365,
    )
    resend: bool = key(
        "let the worker open stored messages, so that one can be sent again, extended, or given a corrected "
        "phone number; false = only a recipient's link opens a message that has been sent",
        default=True,
    )
    socket: str = key(
        "where the web server finds the pages: unix:PATH, or inet:PORT@127.0.0.1",
        default="unix:/run/nta-portal/portal.sock",
    )
    control: Path = key(
        "folder of the control socket, which nta-milter status asks; nobody but root and the portal may "
        "enter it, and without it there is none",
        default=Path("/run/nta-portal/control"),
    )
    proxies: tuple[IPNetwork, ...] = key(
        "networks of web servers whose X-Forwarded-For is believed; on a unix socket it always is",
        default=(),
        example='["127.0.0.0/8"]',
    )
    support: str = key(
        "where a recipient can ask questions, shown on every page; empty = nothing is shown",
        default="",
        example='"020 555 01 23, op werkdagen van 8 tot 17 uur"',
    )
    timezone: str = key("time zone of the moments on the pages", default="Europe/Amsterdam")
    reply_limit: int = key(
        "files that a recipient can send with a reply, together",
        default=20_000_000,
        unit="bytes",
        minimum=0,
        maximum=200_000_000,
    )
    sms_command: tuple[str, ...] = key(
        "program with its arguments that sends a code to a mobile telephone. Of its input, the first line is "
        "the number (+31612345678) and the rest the text; it ends with status 0 when that is on its way. It "
        "runs as nta-portal, whose unit lets it reach this host alone: add IPAddressAllow= there. Empty = no "
        "codes by SMS",
        default=(),
        example='["/usr/local/bin/send-sms"]',
    )
    lock_after: int = key(
        "wrong codes in one day, wherever they come from, after which a link opens nothing for that day; "
        "0 = never",
        default=100,
        minimum=0,
        maximum=100_000,
    )


@dataclass(frozen=True, kw_only=True)
class NotificationSettings:
    """``[notification]``: the mail that tells a recipient about a message in the portal."""

    organisation: str = key(
        "name of the organisation; empty = the first internal domain", default="", example='"Care Group"'
    )
    sender: str = key(
        "address in From; empty = the address of the sender of the message",
        default="",
        example='"veilig@care.test"',
    )
    domain: str = key(
        "domain of our own envelope senders (nta-bounce+ID@) and Reply-To (beveiligd+ID@); empty = the first "
        "internal domain",
        default="",
        example='"care.test"',
    )
    language: Literal["nl", "en"] = key("language where nothing better is known", default="nl")
    genuine: str = key(
        "how a recipient can check that a notification is genuine: a telephone number or web page; "
        "empty = left out",
        default="",
        example='"https://care.test/veilig"',
    )


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """``[worker]``: hands to Postfix what the milter has prepared, and watches over it."""

    socket: Path = key(
        "unix socket where Postfix delivers commits and bounces by LMTP",
        default=Path("/var/spool/postfix/nta-worker/commit.sock"),
    )
    hand: Path = key(
        "Postfix's listener for routed copies", default=Path("/var/spool/postfix/public/nta-hand")
    )
    mail: Path = key(
        "Postfix's listener for notifications and reports",
        default=Path("/var/spool/postfix/public/nta-mail"),
    )
    decide_limit: int = key(
        "time after which a recipient whose domain cannot be looked up gets the message by the portal",
        default=14_400,
        unit="s",
        minimum=60,
        maximum=432_000,
    )
    tries: int = key(
        "refusals by our own Postfix after which a mail is set aside and somebody must look",
        default=12,
        minimum=1,
        maximum=1_000,
    )
    control: Path = key(
        "folder of the control socket, which nta-milter status asks; nobody but root and the worker may "
        "enter it, and without it there is none",
        default=Path("/run/nta-worker"),
    )
    late_after: int = key(
        "time that routed mail may wait in Postfix's queue, because a host cannot prove its certificate or "
        "does not answer, before something is done about it; 0 = nothing is",
        default=14_400,
        unit="s",
        minimum=0,
        maximum=432_000,
    )
    late: Literal["report", "portal"] = key(
        "what is done about late mail: report = its sender is told once, and Postfix goes on trying; portal "
        "= a readable copy, whose sealed content is kept until then, can be opened in the portal (where "
        "Postfix delivers it later all the same, the recipient has both), and of other mail the sender is "
        "told",
        default="report",
    )
    interval: int = key("time between two looks at the queue", default=60, unit="s", minimum=1, maximum=3_600)
