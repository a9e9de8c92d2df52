"""First step for an outgoing message, without network: what is it, and is it sensitive?"""

from __future__ import annotations

from dataclasses import dataclass

from nta_milter.config.model import ListenerSettings, RuleSettings
from nta_milter.message.address import addresses, envelope_domain
from nta_milter.message.mime import Part, parse
from nta_milter.message.model import Message, Recipient
from nta_milter.policy import client as clients
from nta_milter.policy.client import Client
from nta_milter.policy.rules import match
from nta_milter.policy.sensitivity import Sensitivity, judge
from nta_milter.policy.snapshot import Snapshot
from nta_milter.smime.open import classify

NOT_SENSITIVE = Sensitivity(False, ())


@dataclass(frozen=True, slots=True)
class Addressee:
    """One recipient with what can be said of it without asking anybody."""

    recipient: Recipient
    internal: bool
    rule: RuleSettings | None
    sensitivity: Sensitivity


@dataclass(frozen=True, slots=True)
class Inspection:
    """A message taken apart, before any look-up.

    ``senders``, ``client_fault`` and ``ciphertext`` matter where somebody gets it as a sensitive message;
    otherwise nobody asks, and they are empty.
    """

    message: Message
    part: Part
    addressees: tuple[Addressee, ...]
    senders: tuple[str, ...]
    client_fault: str
    ciphertext: bool
    all_mail: bool = False
    """Whether mail that is not sensitive goes over mandatory DANE too, where that can be (routing.dane)."""

    @property
    def sensitive(self) -> bool:
        """Whether anybody gets it as a sensitive message."""
        return any(addressee.sensitivity.value for addressee in self.addressees)

    @property
    def needs_route(self) -> bool:
        """Whether Postfix's tables must be proven for it."""
        return self.sensitive or bool(self.domains)

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains outside whose compliance matters."""
        return tuple(
            dict.fromkeys(
                addressee.recipient.domain
                for addressee in self.addressees
                if (addressee.sensitivity.value or self.all_mail) and not addressee.internal
            )
        )


def is_internal(recipient: Recipient, snapshot: Snapshot) -> bool:
    """Whether a recipient's domain is delivered by ourselves; an address without one is a local user's."""
    domain = envelope_domain(recipient.address)
    return not domain or domain in snapshot.internal_domains


def is_outgoing(message: Message, client: Client, snapshot: Snapshot) -> bool:
    """Whether a mail on a listener for arriving mail is one of ours on its way out.

    Postfix lets local networks and logins relay there unless it is told otherwise, and such a mail would
    leave unjudged.
    """
    if all(is_internal(recipient, snapshot) for recipient in message.recipients):
        return False
    if client.login:
        return True
    internal = snapshot.settings.internal
    ours = {domain.lower() for domain in internal.sender_domains or internal.domains}
    senders = (message.sender.lower(), *addresses(message.headers, "From"))
    return any(sender.rpartition("@")[2] in ours for sender in senders)


def inspect(message: Message, client: Client, snapshot: Snapshot, *, every: bool = False) -> Inspection:
    """Take a message apart and judge it; ``every`` looks for all reasons, not just the first.

    Raises MessageError or LimitExceeded for what cannot be read as a message.
    """
    policy = snapshot.settings.policy
    part = parse(message.headers, message.body, part_limit=policy.part_limit, depth_limit=policy.depth_limit)
    listener = snapshot.listener(client.side)
    rules = _fitting(message, client, listener, snapshot)
    judged: dict[bool, Sensitivity] = {}
    addressees = []
    for recipient in message.recipients:
        internal = is_internal(recipient, snapshot)
        rule = match(rules, message.sender, recipient.address)
        sensitivity = NOT_SENSITIVE
        if rule is None or rule.sensitive != "no":
            if internal not in judged:
                judged[internal] = judge(
                    message, part, snapshot.sensitivity, to_outside=not internal, every=every
                )
            sensitivity = judged[internal]
            if rule is not None and rule.sensitive == "yes" and not sensitivity.value:
                sensitivity = Sensitivity.by_rule(rule.name)
        addressees.append(Addressee(recipient, internal, rule, sensitivity))
    all_mail = snapshot.settings.routing.dane == "all"
    if not any(addressee.sensitivity.value for addressee in addressees):
        return Inspection(message, part, tuple(addressees), (), "", ciphertext=False, all_mail=all_mail)
    senders = addresses(message.headers, "From")
    fault = clients.fault(client, listener, snapshot.settings.internal, senders)
    ciphertext = _is_ciphertext(message, snapshot)
    return Inspection(message, part, tuple(addressees), senders, fault, ciphertext, all_mail)


def _fitting(
    message: Message, client: Client, listener: ListenerSettings | None, snapshot: Snapshot
) -> tuple[RuleSettings, ...]:
    """The rules, without those that exempt a sender whom this client is not: anybody can write MAIL FROM."""
    internal = snapshot.settings.internal
    if not clients.fault(client, listener, internal, (message.sender.lower(),)):
        return snapshot.settings.rules
    return tuple(rule for rule in snapshot.settings.rules if rule.sensitive != "no" or rule.sender == "*")


def _is_ciphertext(message: Message, snapshot: Snapshot) -> bool:
    """Whether the content is ciphertext already, by what it parses as, and the header tells nothing.

    A label alone proves nothing; and ciphertext under a Subject with a citizen service number is no secret.
    """
    if classify(message.headers, message.body) not in ("enveloped", "openpgp"):
        return False
    outside = Message(message.sender, (), message.recipients, message.headers.without(("Content-Type",)), b"")
    header_only = parse(outside.headers, b"", part_limit=1, depth_limit=1)
    return not any(
        reason.code.startswith("content-")
        for reason in judge(outside, header_only, snapshot.sensitivity, to_outside=True, every=True).reasons
    )
