"""Every setting, frozen: its type, default, unit and meaning.

The manual page nta-milter.toml(5), ``config show`` and the loader's error messages are all made from
these classes and those of download.py, so a key is described there and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from nta_milter.config.download import NotificationSettings, PortalSettings, StoreSettings, WorkerSettings
from nta_milter.config.key import LOOPBACK, IPNetwork, key, table
from nta_milter.config.metrics import MetricsSettings


@dataclass(frozen=True, kw_only=True)
class MilterSettings:
    """``[milter]``: the socket that Postfix talks to."""

    socket: str = key(
        "where Postfix finds us: unix:PATH, or inet:PORT@127.0.0.1 (costs about 43 ms a message)",
        default="unix:/var/spool/postfix/nta-milter/milter.sock",
    )
    workers: int = key(
        "processes that serve the socket; more than one uses more than one core",
        default=2,
        minimum=1,
        maximum=64,
    )
    threads: int = key("messages inspected at the same time per worker", default=8, minimum=1, maximum=256)
    lookup_threads: int = key("DNS look-ups at the same time per worker", default=64, minimum=1, maximum=1024)
    timeout: int = key(
        "longest silence on a connection with Postfix (its milter_content_timeout)",
        default=300,
        unit="s",
        minimum=10,
        maximum=86_400,
    )
    spool: Path = key(
        "folder for bodies over spool_threshold; nobody but the milter may read it",
        default=Path("/var/lib/nta-milter/spool"),
    )
    spool_threshold: int = key(
        "body size kept in memory", default=1_048_576, unit="bytes", minimum=0, maximum=1_073_741_824
    )
    control: Path = key(
        "folder of the processes' control sockets, which nta-milter status and cache ask; nobody but root "
        "and the milter may enter it, and without it there are none",
        default=Path("/run/nta-milter"),
    )
    hostname: str = key("name in nta.HOST, our authserv-id (RFC 8601); empty = this host's own", default="")


@dataclass(frozen=True, kw_only=True)
class ListenerSettings:
    """``[[listeners]]``: what Postfix's ``milter_macro_defaults=nta_side=SIDE`` means."""

    side: Literal["outbound", "connector", "inbound", "ntamx"] = key(
        "value of the macro {nta_side}: outbound = our own users, connector = a provider's network in which "
        "our users share hosts with strangers (Microsoft 365), inbound = the ordinary MX, "
        "ntamx = the hosts of our NTA 7516 record"
    )
    clients: tuple[IPNetwork, ...] = key(
        "networks whose mail is ours without a login (outbound only)", default=LOOPBACK
    )
    login: Literal["exact", "any"] = key(
        "exact: an authenticated client sends sensitive mail only with its login (or an address delegated "
        "to it) in From; any: Postfix has checked that already (reject_sender_login_mismatch)",
        default="exact",
    )
    tls_names: tuple[str, ...] = key(
        "connector only: the client certificate, which Postfix must have verified, is for one of these names",
        default=(),
        example='["mail.protection.outlook.com"]',
    )
    organisations: tuple[str, ...] = key(
        "connector only: each mail carries one of these in X-OriginatorOrg, once; every other is refused",
        default=(),
        example='["care.test"]',
    )
    secret_header: str = key(
        "connector only: each mail carries secrets.connector_secret in this header field, once; a rule of "
        "the provider adds it, and it is removed always",
        default="",
        example='"X-Care-Connector"',
    )


def _default_listeners() -> tuple[ListenerSettings, ...]:
    return tuple(ListenerSettings(side=side) for side in ("outbound", "inbound", "ntamx"))


@dataclass(frozen=True, kw_only=True)
class InternalSettings:
    """``[internal]``: whose mail stays inside, and how it stays there."""

    domains: tuple[str, ...] = key(
        "mail domains delivered by ourselves, lower case", default=(), example='["care.test"]'
    )
    hops: tuple[str, ...] = key(
        "next hops that count as inside for sensitive mail, as the transport table names them: "
        "nta-inside (the shipped transport) or empty for none",
        default=("nta-inside",),
    )
    networks: tuple[IPNetwork, ...] = key(
        "networks that nobody else can listen in, such as a tunnel between two hosts: a next hop inside with "
        "an address in one of them needs no TLS; loopback always counts",
        default=(),
        example='["192.0.2.40/32"]',
    )
    sender_domains: tuple[str, ...] = key(
        "domains that our users send from, lower case; empty = the internal domains",
        default=(),
        example='["care.test"]',
    )
    bounce_address: str = key(
        "envelope sender of mail that was opened, so that reports about it stay inside; "
        "empty = postmaster of the first internal domain",
        default="",
        example='"postmaster@care.test"',
    )
    delegates: dict[str, tuple[str, ...]] = table(
        dict,
        "login name = [addresses it may send from besides its own]",
        example='{ "assistant@care.test" = ["doctor@care.test"] }',
    )


@dataclass(frozen=True, kw_only=True)
class DnsSettings:
    """``[dns]``: the validating resolver and the look-up cache."""

    servers: tuple[str, ...] = key(
        "validating resolvers, ADDRESS or ADDRESS:PORT; their AD bit is believed only on loopback or "
        "where listed in trusted",
        default=("127.0.0.1",),
    )
    trusted: tuple[IPNetwork, ...] = key("networks whose AD bit is believed", default=LOOPBACK)
    timeout: float = key("patience for one answer", default=1.0, unit="s", minimum=0.05, maximum=60)
    lifetime: float = key(
        "patience for one look-up, repeats included", default=3.0, unit="s", minimum=0.05, maximum=120
    )
    deadline: float = key(
        "patience for all look-ups of one message", default=10.0, unit="s", minimum=0.05, maximum=240
    )
    cache_entries: int = key("domains kept in the cache", default=100_000, minimum=1, maximum=10_000_000)
    ttl_cap: int = key("longest time an answer is kept", default=3600, unit="s", minimum=0, maximum=604_800)
    negative_ttl_cap: int = key(
        "longest time an absence is kept", default=900, unit="s", minimum=0, maximum=86_400
    )
    unknown_ttl: int = key(
        "time that a failed look-up is not repeated", default=10, unit="s", minimum=0, maximum=3600
    )
    probe_secure: str = key(
        "name whose answer must be DNSSEC-secure: the proof that the resolver validates", default="."
    )
    probe_bogus: str = key(
        "name with a broken signature, which a validating resolver must refuse; empty = not asked", default=""
    )
    timezone: str = key(
        "time zone in which the months of an NTA 7516 record begin and end", default="Europe/Amsterdam"
    )


@dataclass(frozen=True, kw_only=True)
class PolicySettings:
    """``[policy]``: which mail is sensitive."""

    mode: Literal["always", "content", "marked"] = key(
        "always: every mail is sensitive; content: mail with a mark or with recognised content; "
        "marked: mail with a mark. There is no default: the organisation decides"
    )
    mark_header: str = key("header field that marks a mail as sensitive", default="X-Nta-Sensitive")
    subject_tags: tuple[str, ...] = key(
        "tags that mark a mail when its Subject begins or ends with one; removed before sending",
        default=("[veilig]", "[secure]"),
    )
    msip_labels: tuple[str, ...] = key(
        "Microsoft Purview label ids that mark a mail (header field msip_labels)",
        default=(),
        example='["f42a60c6-0c5a-4d3a-9c1e-2b1a6a3a8d11"]',
    )
    bsn: bool = key("recognise a citizen service number (eleven-test) near a word for it", default=True)
    patient_number: str = key(
        "regular expression for the organisation's patient numbers; empty = none",
        default="",
        example="'\\bP-\\d{7}\\b'",
    )
    words: tuple[str, ...] = key(
        "words and phrases that make a mail sensitive (case-insensitive, whole words)",
        default=(),
        example='["diagnose", "uitslag van het onderzoek"]',
    )
    word_files: tuple[Path, ...] = key(
        "files with one word or phrase a line, # begins a comment",
        default=(),
        example='["/etc/nta-milter/words"]',
    )
    text_limit: int = key(
        "text read per attachment; a longer one counts as unreadable",
        default=8_000_000,
        unit="bytes",
        minimum=1,
        maximum=1_000_000_000,
    )
    part_limit: int = key("MIME parts in one message", default=1_000, minimum=1, maximum=100_000)
    depth_limit: int = key("MIME nesting", default=50, minimum=1, maximum=200)
    attachment_limit: int = key(
        "decoded attachments above which a message goes to the portal (NTA 7516: about 20 MB)",
        default=20_000_000,
        unit="bytes",
        minimum=0,
    )
    unreadable: Literal["sensitive", "pass"] = key(
        "what an attachment to someone outside counts as when it cannot be read", default="sensitive"
    )


@dataclass(frozen=True, kw_only=True)
class RuleSettings:
    """``[[rules]]``: the first rule that fits a sender and recipient decides among what the facts allow."""

    name: str = key("name shown in the log, in the audit and by explain")
    sender: str = key("address, @domain or *", default="*")
    recipient: str = key("address, @domain or *", default="*")
    sensitive: Literal["yes", "no", ""] = key(
        "yes: always sensitive; no: exempt, audited (where sender is not *, only for a client that may send "
        "as that sender); empty: by policy.mode",
        default="",
    )
    route: Literal["smime", "dane", "portal", "reject", ""] = key(
        "the only route wanted; it can never mean clear", default=""
    )
    subject: Literal["hide", "keep"] = key("outer Subject of an S/MIME mail", default="hide")
    cipher: Literal["aes-256-cbc", "aes-128-cbc", "aes-256-gcm", "aes-128-gcm", ""] = key(
        "content encryption; empty = smime.cipher", default=""
    )
    size_limit: int = key(
        "largest mail on the wire that the domain takes; 0 = unknown", default=0, unit="bytes", minimum=0
    )


@dataclass(frozen=True, kw_only=True)
class SmimeSettings:
    """``[smime]``: keys, certificates and trust."""

    keys: Path = key(
        "folder of our PKCS#12 (.p12, .pfx) and PEM key files", default=Path("/etc/nta-milter/keys")
    )
    bindings: dict[str, tuple[str, ...]] = table(
        dict,
        "key file = [addresses or @domains it opens and signs for], besides its certificate's own addresses",
        example='{ "gateway.p12" = ["@care.test"] }',
    )
    certificates: Path = key(
        "folder of recipients' certificates: ADDRESS.pem for a person, DOMAIN.pem for a domain's gateway",
        default=Path("/etc/nta-milter/certificates"),
    )
    trust: Path = key(
        "folder or file of trusted certification authorities, PEM; certificates in its sub-folder "
        "intermediates help to find a path and are not believed by themselves",
        default=Path("/etc/nta-milter/trust"),
    )
    crls: Path | None = key(
        "folder of certificate revocation lists (.crl, .pem, .der), never fetched while a mail waits; what "
        "changes in it counts within a minute; without it nothing is known to be revoked",
        default=None,
        example='"/var/lib/nta-milter/crls"',
    )
    fetch_crls: bool = key(
        "let the worker fetch into that folder, by plain HTTP, the lists that the certificates of trusted "
        "authorities name; its unit must be let out (see install.md)",
        default=False,
    )
    crl_interval: int = key(
        "time between two looks whether a list is new", default=3600, unit="s", minimum=300, maximum=604_800
    )
    crl_networks: tuple[IPNetwork, ...] = key(
        "networks that lists are fetched from though their addresses are not public, on any port",
        default=(),
        example='["10.1.2.0/24"]',
    )
    unknown_revocation: Literal["accept", "refuse"] = key(
        "what a certificate counts as whose revocation is not known for want of a current list",
        default="accept",
    )
    cipher: Literal["aes-256-cbc", "aes-128-cbc", "aes-256-gcm", "aes-128-gcm"] = key(
        "content encryption where nothing better is known of the recipient", default="aes-256-cbc"
    )
    sign: bool = key("sign before encrypting, with the sender's or the domain's key", default=True)
    personal: Literal["prefer", "never"] = key(
        "use personal certificates where the domain has no gateway", default="never"
    )
    harvest: bool = key(
        "keep the certificates of senders whose signed mail was verified; with another key than the kept one "
        "a certificate waits for nta-milter certs accept",
        default=False,
    )
    harvested: Path = key(
        "folder of the kept certificates, written by the milter",
        default=Path("/var/lib/nta-milter/harvested"),
    )
    smimea: bool = key(
        "look for personal certificates in DNSSEC-secure SMIMEA records (RFC 8162)", default=False
    )
    layer_limit: int = key("nested S/MIME layers opened", default=4, minimum=1, maximum=16)


@dataclass(frozen=True, kw_only=True)
class RoutingSettings:
    """``[routing]``: the Postfix whose tables carry mail to the mandatory-DANE transport."""

    dane: Literal["sensitive", "all"] = key(
        "which mail to compliant domains goes by the mandatory-DANE transport: sensitive mail, or all; with "
        "all, other mail waits for the look-ups, and one for several domains needs a store",
        default="sensitive",
    )
    postfix: Path = key("Postfix configuration folder", default=Path("/etc/postfix"))
    interval: int = key(
        "time between two proofs of the tables", default=300, unit="s", minimum=10, maximum=86_400
    )
    probe: str = key(
        "HOST:PORT of Postfix's listener marked probe: a mail whose route the tables refuse goes in there, "
        "and unless the running Postfix refuses it, nothing sensitive is routed; empty = no probe",
        default="127.0.0.1:10587",
    )
    probe_interval: int = key(
        "time between two probes of the running Postfix", default=900, unit="s", minimum=10, maximum=86_400
    )


@dataclass(frozen=True, kw_only=True)
class AuditSettings:
    """``[audit]``: the record of events (NTA 7516, 6.4.2)."""

    target: Literal["file", "store"] = key(
        "file: JSON lines; store: a chain of records in the database that shows what was changed or removed",
        default="file",
    )
    file: Path = key(
        "JSON lines, appended and synced; logrotate renames and removes it",
        default=Path("/var/lib/nta-milter/audit.jsonl"),
    )
    retention: int = key(
        "time after which the worker removes records from the store; 0 = never: the organisation decides",
        default=0,
        unit="days",
        minimum=0,
        maximum=36_500,
    )


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """``[log]``: one line per event, key=value, never message content."""

    level: Literal["debug", "info", "warning", "error"] = key("least level that is logged", default="info")
    target: Literal["stderr", "syslog"] = key("stderr suits the journal", default="stderr")


@dataclass(frozen=True, kw_only=True)
class SecretSettings:
    """``[secrets]``: files used where systemd gives no credential of that name."""

    keys_password: Path | None = key(
        "file with the password of the key files; not readable for everybody",
        default=None,
        example='"/etc/nta-milter/keys-password"',
    )
    portal_key: Path | None = key(
        "file with the portal's private keys, the one in use first; not readable for everybody",
        default=None,
        example='"/etc/nta-milter/secrets/portal-key"',
    )
    audit_key: Path | None = key(
        "file with the private key that the worker signs the audit's checkpoints with; not readable for "
        "everybody",
        default=None,
        example='"/etc/nta-milter/secrets/audit-key"',
    )
    connector_secret: Path | None = key(
        "file with the secret of listeners.secret_header; not readable for everybody",
        default=None,
        example='"/etc/nta-milter/connector-secret"',
    )
    worker_key: Path | None = key(
        "file with the worker's private keys, the one in use first; not readable for everybody",
        default=None,
        example='"/etc/nta-milter/secrets/worker-key"',
    )


@dataclass(frozen=True, kw_only=True)
class NtaHeaderSettings:
    """``[nta_header]``: the mark that some agreements put on mail between compliant parties."""

    name: str = key("header field name; empty = none", default="")
    value: str = key("its value on mail that we send by S/MIME or DANE", default="")


@dataclass(frozen=True, kw_only=True)
class PeerSettings:
    """``[peer]``: what is asked of a mail that another organisation hands in at the ntamx listener.

    ``enforce`` takes in what passes and refuses the rest, ``mark`` tells the result in the header field
    Authentication-Results, ``off`` does not look.
    """

    tls: Literal["enforce", "mark", "off"] = key("TLS 1.2 or newer with a sound cipher", default="mark")
    spf: Literal["enforce", "mark", "off"] = key(
        "the envelope sender's domain lets this client send (RFC 7208; needs pyspf)", default="mark"
    )
    dkim: Literal["enforce", "mark", "off"] = key(
        "a signature over the mail as it arrives is good (RFC 6376; needs dkimpy)", default="mark"
    )
    dmarc: Literal["enforce", "mark", "off"] = key(
        "the domain in From is the one that SPF or DKIM has proven (RFC 7489; needs pyspf and dkimpy; "
        "without publicsuffix2 a sub-domain does not stand for its organisation)",
        default="mark",
    )
    record: Literal["enforce", "mark", "off"] = key(
        "the domain in From is compliant itself: it has a valid NTA 7516 record", default="off"
    )
    header: Literal["enforce", "mark", "off"] = key(
        "the header field of [nta_header] came with its value", default="off"
    )
    inbound: Literal["mark", "off"] = key(
        "whether mail on the ordinary inbound listener is marked too; it is never refused for a result",
        default="off",
    )
    proofs: Path = key(
        "file in which nta-milter doctor --probe keeps what it has proven of the verifiers; nobody but root "
        "may write it",
        default=Path("/etc/nta-milter/verifiers.json"),
    )
    proof_days: int = key(
        "time for which such a proof holds, while main.cf and master.cf stay as they are",
        default=7,
        unit="days",
        minimum=1,
        maximum=90,
    )


@dataclass(frozen=True, kw_only=True)
class VerifierSettings:
    """``[[verifiers]]``: another verifier whose Authentication-Results are believed, where that is proven."""

    authserv_id: str = key("the name that its fields begin with (RFC 8601)", example='"mail.care.test"')
    listener: str = key(
        "address and port of the listener that it runs on before us; it is believed there alone, and "
        "nta-milter doctor --probe sends its probes there",
        example='"192.0.2.25:25"',
    )
    methods: tuple[Literal["spf", "dkim", "dmarc"], ...] = key(
        "what it is believed about; we do not ask ourselves then", default=("spf", "dkim", "dmarc")
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The whole configuration, immutable: a message ends with the snapshot it began with."""

    policy: PolicySettings = field(metadata={"text": "which mail is sensitive", "example": None})
    mode: Literal["enforce", "shadow"] = key(
        "whether we act: enforce, or shadow = log what would be done and change nothing", default="enforce"
    )
    milter: MilterSettings = table(MilterSettings, "the socket that Postfix talks to")
    listeners: tuple[ListenerSettings, ...] = table(_default_listeners, "what each side marker means")
    internal: InternalSettings = table(InternalSettings, "whose mail stays inside")
    dns: DnsSettings = table(DnsSettings, "the validating resolver and the cache")
    rules: tuple[RuleSettings, ...] = table(tuple, "exceptions by sender and recipient, first match wins")
    smime: SmimeSettings = table(SmimeSettings, "keys, certificates and trust")
    routing: RoutingSettings = table(RoutingSettings, "the Postfix that carries routed mail")
    store: StoreSettings = table(StoreSettings, "where messages wait or can be fetched, sealed")
    portal: PortalSettings = table(PortalSettings, "the pages where a recipient opens a message")
    notification: NotificationSettings = table(
        NotificationSettings, "the mail that tells a recipient about a message in the portal"
    )
    worker: WorkerSettings = table(WorkerSettings, "hands prepared mail to Postfix")
    audit: AuditSettings = table(AuditSettings, "the record of events")
    log: LogSettings = table(LogSettings, "log lines")
    metrics: MetricsSettings = table(MetricsSettings, "numbers for Prometheus")
    secrets: SecretSettings = table(SecretSettings, "files with secrets")
    nta_header: NtaHeaderSettings = table(NtaHeaderSettings, "the mark on mail between compliant parties")
    verifiers: tuple[VerifierSettings, ...] = table(
        tuple, "other verifiers before us that are believed, where doctor has proven them"
    )
    peer: PeerSettings = table(
        PeerSettings,
        "what is asked of mail that comes in at the ntamx listener: enforce refuses what does not pass, mark "
        "tells the result in Authentication-Results, off does not look",
    )
