"""Three Postfix instances: care (ours, with the shipped fragments), hospital (and clinic), citizen."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.laboratory.certificates import Pair
from tests.laboratory.namespace import INSIDE, Namespace, NamespaceError

SHIPPED = Path(__file__).resolve().parents[2] / "packaging" / "postfix"
TABLES = ("nta_route", "nta_hand", "nta_requeue", "nta_strip", "nta_transport", "nta_keep")
START_LIMIT = 20.0
SETTLING = 0.3
_INSTALLED = (
    "postfix-files",
    "postfix-files.d",
    "postfix-script",
    "post-install",
    "dynamicmaps.cf",
    "dynamicmaps.cf.d",
)
"""What the package puts in /etc/postfix besides settings; Debian 13 keeps some of it elsewhere."""
_RELOADED = "reload -- version"
RELOADS = 3
"""A line that postlogd(8) was to write while it ended by itself is lost: then Postfix is asked once more."""

# Debian's master.cf without its listeners and pickup, which each host below gives itself.
_SERVICES = """
cleanup   unix  n - y - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - y 1000? 1 tlsmgr
rewrite   unix  - - y - - trivial-rewrite
bounce    unix  - - y - 0 bounce
defer     unix  - - y - 0 bounce
trace     unix  - - y - 0 bounce
verify    unix  - - y - 1 verify
flush     unix  n - y 1000? 0 flush
proxymap  unix  - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp      unix  - - y - - smtp
relay     unix  - - y - - smtp
showq     unix  n - y - - showq
error     unix  - - y - - error
retry     unix  - - y - - error
discard   unix  - - y - - discard
local     unix  - n n - - local
virtual   unix  - n n - - virtual
lmtp      unix  - - y - - lmtp
anvil     unix  - - y - 1 anvil
scache    unix  - - y - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""
_PICKUP = "pickup unix n - y 60 1 pickup\n"

_MAIN = """
compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
maillog_file = {home}/mail.log
maillog_file_prefixes = {inside}
myhostname = {name}
mydomain = {domain}
myorigin = {domain}
inet_interfaces = {addresses}
inet_protocols = ipv4
smtp_bind_address = {first}
mynetworks = 127.0.0.1/32
smtpd_tls_cert_file = {home}/tls.pem
smtpd_tls_key_file = {home}/tls.key
smtpd_tls_security_level = may
smtpd_tls_loglevel = 1
smtp_tls_security_level = may
smtp_tls_loglevel = 1
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_peername_lookup = no
alias_database =
"""


@dataclass(frozen=True)
class Host:
    """One Postfix: where it lives, inside, and how it is called."""

    name: str
    hostname: str
    domain: str
    addresses: tuple[str, ...]
    configuration: Path
    queue: Path
    data: Path
    more_domains: tuple[str, ...] = ()


CARE = Host(
    "care",
    "mx.care.test",
    "care.test",
    ("127.0.0.1", "127.0.0.11"),
    Path("/etc/postfix"),
    Path("/var/spool/postfix"),
    Path("/var/lib/postfix"),
)
NTAMX_ADDRESS = "127.0.0.12"
"""The address of care's ntamx listener, nta.care.test."""


def _elsewhere(name: str, hostname: str, domain: str, *addresses: str, more: tuple[str, ...] = ()) -> Host:
    home = INSIDE / name
    return Host(name, hostname, domain, addresses, home / "etc", home / "queue", home / "data", more)


HOSPITAL = _elsewhere(
    *("hospital", "mx.hospital.test", "hospital.test"),
    *("127.0.0.21", "127.0.0.22", "127.0.0.23", "127.0.0.24"),
    more=("clinic.test",),
)
CITIZEN = _elsewhere("citizen", "mx.citizen.test", "citizen.test", "127.0.0.31", "127.0.0.41")
HOSTS = (CARE, HOSPITAL, CITIZEN)

_CARE_MAIN = """
mydestination = care.test, localhost
alias_maps = texthash:/etc/postfix/aliases
local_recipient_maps = proxy:unix:passwd.byname $alias_maps
mailbox_transport = lmtp:unix:private/dovecot-lmtp
cyrus_sasl_config_path = /etc/postfix/sasl
message_size_limit = 60000000
mailbox_size_limit = 0
"""
_LISTENER = """
{address}:smtp inet n - y - {processes} smtpd
  -o syslog_name=postfix/{store}
  -o myhostname={name}
  -o {{ content_filter = lmtp:unix:private/{store} }}
"""
_VERIFY = "  -o smtpd_milters=unix:opendkim/{store}.sock\n"
_OTHER_MAIN = """
mydestination = {domains}
alias_maps =
local_recipient_maps =
message_size_limit = 60000000
"""
_OTHER_LISTENERS = {
    "hospital": (
        ("127.0.0.21", "nta.hospital.test", _VERIFY),
        ("127.0.0.22", "mx.hospital.test", ""),
        ("127.0.0.23", "nta.clinic.test", _VERIFY),
        ("127.0.0.24", "mx.clinic.test", ""),
    ),
    "citizen": (("127.0.0.31", "mx.citizen.test", ""), ("127.0.0.41", "mx.broken.test", "")),
}


class Postfix:
    """One instance; its folder is ``DIRECTORY/NAME`` outside and ``INSIDE/NAME`` inside."""

    def __init__(self, host: Host, namespace: Namespace, tls: Pair) -> None:
        self.host = host
        self.namespace = namespace
        self.home = namespace.directory / host.name
        self._tls = tls

    def write(self) -> None:
        """Write the configuration and the folders; before the namespace exists."""
        etc = self.home / "etc"
        etc.mkdir(parents=True)
        for installed in (Path("/etc/postfix") / name for name in _INSTALLED):
            if installed.is_dir():
                shutil.copytree(installed, etc / installed.name)
            elif installed.exists():
                shutil.copy(installed, etc)
        for folder in (
            "queue/private",
            "queue/opendkim",
            "queue/nta-milter",
            "queue/nta-worker",
            "queue/etc",
            "data",
        ):
            (self.home / folder).mkdir(parents=True)
        shutil.chown(self.home / "queue/private", "postfix")
        (self.home / "queue/private").chmod(0o700)
        for folder in ("queue/nta-milter", "queue/nta-worker"):
            shutil.chown(self.home / folder, group="postfix")
            (self.home / folder).chmod(0o2770)
        shutil.chown(self.home / "queue/opendkim", "opendkim", "postfix")
        (self.home / "queue/opendkim").chmod(0o2770)
        shutil.chown(self.home / "data", "postfix")
        shutil.copy("/etc/services", self.home / "queue/etc/services")
        (self.home / "queue/etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
        shutil.copy(self._tls.key, self.home / "tls.key")
        shutil.copy(self._tls.certificate, self.home / "tls.pem")
        for name, text in self._files().items():
            (etc / name).write_text(text)
            os.utime(etc / name, (time.time() - 10,) * 2)

    def prepare(self) -> None:
        """Give it its addresses and, for care, Debian's usual folders."""
        if self.host is CARE:
            for own, usual in (
                ("etc", "/etc/postfix"),
                ("queue", "/var/spool/postfix"),
                ("data", "/var/lib/postfix"),
            ):
                self.namespace.run("mount", "--bind", INSIDE / "care" / own, usual)
        for address in (*self.host.addresses, *((NTAMX_ADDRESS,) if self.host is CARE else ())):
            self.namespace.run("ip", "address", "replace", f"{address}/8", "dev", "lo")

    def start(self) -> None:
        """Start it and wait until it listens; raises NamespaceError with what Postfix said."""
        self.command("postconf", "-n")
        try:
            self.command("postfix", "start")
        except NamespaceError:
            # on a busy machine its set-up was seen to meet a folder that was not given to postfix yet
            self.command("postfix", "start")
        limit = time.monotonic() + START_LIMIT
        while not self._listens():
            if time.monotonic() > limit:
                raise NamespaceError(f"Postfix of {self.host.name} does not listen:\n{self.log()}")
            time.sleep(0.02)

    def command(self, program: str, *arguments: str, stdin: bytes | None = None) -> str:
        """What one of Postfix's commands prints for this instance; raises NamespaceError when it fails."""
        where = (program, "-c", self.host.configuration)
        return self.namespace.run(*where, *arguments, stdin=stdin).stdout.decode("utf-8", "replace")

    def set(self, **parameters: str) -> None:
        """Change main.cf and reload."""
        self.command("postconf", "-e", *(f"{name}={value}" for name, value in parameters.items()))
        self.reload()

    def edit(self, name: str, text: str) -> None:
        """Replace a file of the configuration folder and reload."""
        (self.home / "etc" / name).write_text(text)
        self.reload()

    def restore(self) -> None:
        """Undo every change of the configuration."""
        changed = False
        for name, text in self._files().items():
            file = self.home / "etc" / name
            if not file.exists() or file.read_text() != text:
                file.write_text(text)
                changed = True
        if changed:
            self.reload()

    def reload(self) -> None:
        """Have Postfix read its configuration again, and wait until it has."""
        # Every Postfix program waits for seconds while a file that it reads is younger than that.
        for name in self._files():
            os.utime(self.home / "etc" / name, (time.time() - 10,) * 2)
        for _ in range(RELOADS):
            before = self.log().count(_RELOADED)
            self.command("postfix", "reload")
            if self._reloaded(before):
                break
        else:
            raise NamespaceError(f"Postfix of {self.host.name} does not reload:\n{self.log()}")
        # an idle smtpd of before may still take one connection until it has seen that it shall end
        time.sleep(SETTLING)

    def _reloaded(self, before: int) -> bool:
        limit = time.monotonic() + START_LIMIT / RELOADS
        while self.log().count(_RELOADED) == before or not self._listens():
            if time.monotonic() > limit:
                return False
            time.sleep(0.02)
        return True

    def log(self) -> str:
        """Its log so far."""
        log = self.home / "mail.log"
        return log.read_text("utf-8", "replace") if log.exists() else ""

    def emptied(self) -> bool:
        """Delete all mail; whether nothing is left, not even what was being delivered."""
        self.command("postsuper", "-d", "ALL")
        return not self.queued()

    def queued(self) -> list[dict[str, Any]]:
        """What ``postqueue -j`` says: a dictionary for each message in the queue."""
        return [json.loads(line) for line in self.command("postqueue", "-j").splitlines()]

    def _files(self) -> dict[str, str]:
        files = {"main.cf": self._main(), "master.cf": self._master()}
        if self.host is CARE:
            files.update({table: (SHIPPED / table).read_text() for table in TABLES}, aliases="")
        return files

    def _listens(self) -> bool:
        try:
            with self.namespace.connect(self.host.addresses[-1], 25, limit=5) as connection:
                return connection.recv(3) == b"220"
        except OSError:
            return False

    def _main(self) -> str:
        host = self.host
        text = _MAIN.format(
            queue=host.queue,
            data=host.data,
            home=INSIDE / host.name,
            inside=INSIDE,
            name=host.hostname,
            domain=host.domain,
            addresses=", ".join(host.addresses),
            first=host.addresses[-1] if host is CARE else host.addresses[0],
        )
        if host is CARE:
            return text + _CARE_MAIN + (SHIPPED / "main.cf").read_text()
        return text + _OTHER_MAIN.format(domains=", ".join((host.domain, *host.more_domains)))

    def _master(self) -> str:
        if self.host is CARE:
            shipped = (SHIPPED / "master.cf").read_text()
            return _SERVICES + shipped.replace("192.0.2.25:", f"{NTAMX_ADDRESS}:")
        listeners = [
            # opendkim reads its resolver's configuration for each connection, and not two at a time
            (_LISTENER + more).format(
                address=address,
                name=name,
                store=name.removesuffix(".test"),
                processes=1 if more else "-",
            )
            for address, name, more in _OTHER_LISTENERS[self.host.name]
        ]
        return _SERVICES + _PICKUP + "".join(listeners)
