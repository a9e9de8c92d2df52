"""The miniature internet: a resolver, three Postfix, DKIM signers, mail stores and the milter under test."""

from __future__ import annotations

import contextlib
import os
import shutil
import smtplib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tests.laboratory import store
from tests.laboratory.browser import Browser
from tests.laboratory.certificates import Certificates, Pair
from tests.laboratory.client import Reply, Session, unix_connection
from tests.laboratory.dns import Dns
from tests.laboratory.names import (
    DKIM_SELECTOR,
    LISTENERS,
    OPENDKIM,
    PORTAL_URL,
    REFUSE_UNSIGNED,
    SASL,
    STORES,
    USERS,
    milter_settings,
    secure_download,
    zones,
)
from tests.laboratory.namespace import INSIDE, Namespace, NamespaceError, Process
from tests.laboratory.postfix import HOSTS, Postfix
from tests.laboratory.started import NOOP, answers, parsed, probed
from tests.laboratory.store import Delivered
from tests.laboratory.stored import Stored

Value = TypeVar("Value")
CHECKOUT = Path(__file__).resolve().parents[2]
LOGIN_PASSWORD = "wachtwoord-van-niemand"
START_LIMIT = 20.0
CLIENT = "127.0.0.90"
"""The address that test clients come from: nobody's network."""

SERVICES = {"worker": "queue/nta-worker/commit.sock", "portal": "nta-milter/portal.sock"}
"""The services besides the milter, and their sockets in care's folder."""


class LaboratoryError(Exception):
    """Something in the laboratory is not as it should be; the text says what was seen."""


class Laboratory:
    """Build, use and take down the miniature internet; a context manager.

    ``directory`` is emptied first. ``milter`` is the command of the milter under test, which gets
    ``run --config FILE``; ``None`` starts none, and mail at care.test then waits. ``download`` gives
    care.test a store, a worker and a portal. While ``probed``, a start of the milter waits for its probe.
    """

    def __init__(
        self,
        directory: Path,
        milter: Sequence[str] | None = (sys.executable, "-m", "nta_milter.cli.main"),
        *,
        download: bool = False,
        **settings: Any,
    ) -> None:
        self.directory = directory.resolve()
        self.namespace = Namespace(self.directory)
        self.configuration = INSIDE / "care" / "nta-milter" / "nta-milter.toml"
        self._milter_command = milter
        self._download = download
        self._settings = {**(secure_download() if download else {}), **settings}
        self._milter: Process | None = None
        self._services: dict[str, Process] = {}
        self.patience, self.probed = 20.0, True
        self._dns: Dns | None = None
        self._milter_log_began, self._runs = 0, False

    def __enter__(self) -> Laboratory:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Build everything and wait until it answers; raises LaboratoryError or NamespaceError."""
        self._need_programs()
        if self.directory.exists():
            shutil.rmtree(self.directory)
        self.directory.mkdir(parents=True)
        self.directory.chmod(0o755)
        try:
            self._write()
            self.namespace.start()
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every process and give the namespaces back; the files stay for who wants to look."""
        self._milter = None
        self._runs = False
        self._services.clear()
        self.namespace.stop()
        if self._dns is not None:
            self._dns.stop()
            self._dns = None

    @property
    def certificates(self) -> Certificates:
        """Everybody's keys and certificates; more are made as they are asked for."""
        return Certificates(self.directory / "certificates")

    @property
    def dns(self) -> Dns:
        """The resolver and its zones, which a test can change."""
        if self._dns is None:
            raise LaboratoryError("the laboratory is not running")
        return self._dns

    def start_milter(self) -> None:
        """Start it and wait until Postfix can reach it; raises LaboratoryError with its log."""
        if self._milter_command is None:
            raise LaboratoryError("this laboratory was built without a milter")
        command = (*self._milter_command, "run", "--config", str(self.configuration))
        self._milter_log_began = len(self.milter_log())
        self._milter = self.namespace.popen(
            *command, log=self.directory / "care" / "milter.log", environment=_environment(), umask=0o007
        )
        socket_seen = self.namespace.directory / "care" / "queue" / "nta-milter" / "milter.sock"
        limit = time.monotonic() + START_LIMIT
        while not answers(socket_seen):
            if self._milter.ended() or time.monotonic() > limit:
                raise LaboratoryError(f"the milter does not answer:\n{self.milter_log()}")
            time.sleep(0.02)
        if self._runs:
            self._wait_until_probed()

    def _wait_until_probed(self) -> None:
        """Wait until each worker of the milter has probed the running Postfix: before, it routes nothing."""
        if NOOP not in (self._milter_command or (NOOP,)) and self.probed:
            self.wait_for(lambda: probed(self.milter_log()[self._milter_log_began :]), "a probe of Postfix")

    def stop_milter(self, *, kill: bool = False) -> None:
        """Ask it to stop, or kill it, and wait until it is gone."""
        if self._milter is not None:
            self._milter.end(kill=kill)
            self._milter = None

    def start_service(self, name: str) -> None:
        """Start ``worker`` or ``portal`` and wait until it answers; raises LaboratoryError with its log."""
        log = self.directory / "care" / f"{name}.log"
        command = (sys.executable, "-m", "nta_milter.cli.main", name, "--config", str(self.configuration))
        started = self.namespace.popen(*command, log=log, environment=_environment(), umask=0o007)
        self._services[name] = started
        limit = time.monotonic() + START_LIMIT
        while not answers(self.namespace.directory / "care" / SERVICES[name]):
            if started.ended() or time.monotonic() > limit:
                raise LaboratoryError(f"the {name} does not start:\n{self.service_log(name)}")
            time.sleep(0.02)

    def stop_service(self, name: str, *, kill: bool = False) -> None:
        """Ask ``worker`` or ``portal`` to stop, or kill it, and wait until it is gone."""
        service = self._services.pop(name, None)
        if service is not None:
            service.end(kill=kill)

    def service_log(self, name: str) -> str:
        """What ``worker`` or ``portal`` has written."""
        log = self.directory / "care" / f"{name}.log"
        return log.read_text("utf-8", "replace") if log.exists() else ""

    @property
    def stored(self) -> Stored:
        """What care.test has in its store."""
        return Stored(self.directory / "care" / "nta-milter")

    def agree(self, address: str, code: str) -> None:
        """Have a recipient's access code known at care.test, as an administrator does."""
        done = self.nta_milter(
            *("recipients", "add", address, "--code-file", "-", "--config", str(self.configuration)),
            stdin=code.encode(),
        )
        if done[0]:
            raise LaboratoryError(f"nta-milter recipients add: {done[1]}")

    @property
    def portal_socket(self) -> Path:
        """Where the portal of care.test listens."""
        return self.directory / "care" / SERVICES["portal"]

    def browser(self, language: str = "nl") -> Browser:
        """A browser of somebody who visits the portal of care.test for the first time."""
        return Browser(self.portal_socket, PORTAL_URL, language)

    def restart_milter(self) -> None:
        """Stop it and start it with the configuration file as it is now."""
        self.stop_milter()
        self.start_milter()

    def milter_runs(self) -> bool:
        """Whether the milter has been started and has not ended."""
        return self._milter is not None and not self._milter.ended()

    def milter_log(self) -> str:
        """What the milter has written."""
        log = self.directory / "care" / "milter.log"
        return log.read_text("utf-8", "replace") if log.exists() else ""

    def nta_milter(self, *arguments: str, stdin: bytes | None = None) -> tuple[int, str]:
        """Exit status and output of an nta-milter command run inside."""
        command = (sys.executable, "-m", "nta_milter.cli.main", *arguments)
        done = self.namespace.run("env", f"PYTHONPATH={CHECKOUT}", *command, stdin=stdin, check=False)
        return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")

    @contextlib.contextmanager
    def session(
        self,
        listener: str = "submission",
        login: str | None = None,
        *,
        source: str = CLIENT,
        tls: bool = True,
        certificate: Pair | None = None,
    ) -> Iterator[Session]:
        """A client of one of care's listeners, or of ``ADDRESS:PORT``; by STARTTLS where it is offered.

        ``certificate`` is the one it shows, if it is asked.
        """
        address, port = LISTENERS[listener] if listener in LISTENERS else parsed(listener)
        client = Session(self.namespace, address, port, source)
        try:
            client.ehlo()
            if tls and client.has_extn("starttls"):
                client.secure(certificate)
            if login is not None:
                client.login(login, LOGIN_PASSWORD)
            yield client
        finally:
            client.close()

    def send(
        self,
        login: str | None,
        sender: str,
        recipients: Sequence[str],
        message: bytes,
        listener: str = "submission",
        options: Sequence[str] = (),
    ) -> Reply:
        """One message over SMTP, byte for byte; the reply tells what the server made of it."""
        try:
            with self.session(listener, login) as client:
                return client.transmit(sender, recipients, message, options)
        except smtplib.SMTPResponseException as refusal:
            text = refusal.smtp_error
            words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
            return Reply(refusal.smtp_code, words, "session")

    def sendmail(self, *arguments: str, message: bytes, user: str = "root") -> None:
        """Hand in a message by sendmail(1); raises NamespaceError when the program refuses it."""
        who = () if user == "root" else ("setpriv", f"--reuid={user}", "--clear-groups")
        self.namespace.run(*who, "/usr/sbin/sendmail", *arguments, stdin=message)

    def mailbox(self, host: str, address: str) -> list[Delivered]:
        """The mails of an address at one of STORES, oldest first."""
        if host not in STORES:
            raise LaboratoryError(f"no store {host}: there are {', '.join(STORES)}")
        return store.read(self.directory / "mailboxes" / host / address.lower())

    def everything(self) -> list[tuple[str, Delivered]]:
        """Every mail that has arrived anywhere, with the name of its store."""
        found = []
        for folder in sorted((self.directory / "mailboxes").glob("*/*")):
            found += [(folder.parent.name, mail) for mail in store.read(folder)]
        return found

    def log(self, host: str = "care") -> str:
        """The mail log of a Postfix: care, hospital or citizen."""
        return self.postfix[host].log()

    def queue(self, host: str = "care") -> list[dict[str, Any]]:
        """The queue of a Postfix, a dictionary a message, as ``postqueue -j`` gives it."""
        return self.postfix[host].queued()

    def flush(self, host: str = "care") -> None:
        """Have Postfix try everything that waits."""
        self.postfix[host].command("postqueue", "-f")

    def pick_up(self, host: str = "care") -> None:
        """Have Postfix look into its maildrop now, which it does by itself once a minute."""
        pickup = self.postfix[host].home / "queue" / "public" / "pickup"
        with contextlib.closing(unix_connection(pickup)) as client:
            client.sendall(b"W")
            client.recv(1)

    @contextlib.contextmanager
    def hand_in(self) -> Iterator[smtplib.SMTP]:
        """A client of the hand-in listener, the unix socket public/nta-hand at care.test."""
        client = smtplib.SMTP(local_hostname="worker.test")
        client.sock = unix_connection(self.postfix["care"].home / "queue" / "public" / "nta-hand")
        try:
            code, text = client.getreply()
            if code != 220:
                raise LaboratoryError(f"public/nta-hand answers {code} {text!r}")
            client.ehlo()
            yield client
        finally:
            client.close()

    def postsuper(self, *arguments: str, host: str = "care") -> None:
        """Run postsuper(1), and have what it requeued picked up."""
        self.postfix[host].command("postsuper", *arguments)
        self.pick_up(host)

    def wait_for(self, predicate: Callable[[], Value], what: str, *, pause: float = 0.02) -> Value:
        """The first true value of ``predicate`` within ``patience`` seconds.

        Raises:
            LaboratoryError: it did not come; with the end of care's log.
        """
        end = time.monotonic() + self.patience
        while True:
            value = predicate()
            if value:
                return value
            if time.monotonic() > end:
                tail = "\n".join(self.log().splitlines()[-12:])
                raise LaboratoryError(
                    f"{what}: not seen in {self.patience:.0f} s; the end of care's log:\n{tail}"
                )
            time.sleep(pause)

    def forward(self, user: str, text: str) -> None:
        """Write a user's ``.forward`` file at care.test."""
        number = 64001 + USERS.index(user)
        file = self.directory / "care" / "home" / user / ".forward"
        file.write_text(text)
        os.chown(file, number, -1)

    def reset(self) -> None:
        """As freshly built: no mail anywhere, the configuration as shipped, our services running."""
        if self._download:
            self.stored.clear()
        for name, instance in self.postfix.items():  # in the order in which mail goes
            self.wait_for(instance.emptied, f"the end of what {name} delivers")
            instance.restore()
        for file in (self.directory / "care" / "home").glob("*/.forward"):
            file.unlink()
        for folder in (self.directory / "mailboxes").glob("*/*"):
            shutil.rmtree(folder)
        if self._milter_command is not None and not self.milter_runs():
            self.start_milter()
        for service in SERVICES if self._download else ():
            if service not in self._services or self._services[service].ended():
                self.start_service(service)

    def settle(self, host: str = "care", *, maildrop: bool = True) -> None:
        """Wait until every message of a Postfix is deferred or on hold.

        ``maildrop=False`` leaves out what sendmail(1) has handed in and the milter puts off.
        """
        still = ("deferred", "hold") if maildrop else ("deferred", "hold", "maildrop")
        self.wait_for(
            lambda: all(message["queue_name"] in still for message in self.queue(host)),
            f"the queue of {host} comes to rest",
            pause=0.05,
        )

    def _need_programs(self) -> None:
        needed = ("postfix", "postconf", "opendkim", "unbound", "openssl", "saslpasswd2", "ldns-signzone")
        path = "/usr/sbin:/usr/bin:/sbin:/bin"
        missing = [program for program in needed if shutil.which(program, path=path) is None]
        if missing:
            raise LaboratoryError(f"not installed: {', '.join(missing)}")

    def _write(self) -> None:
        certificates = self.certificates
        self.postfix = {
            host.name: Postfix(host, self.namespace, certificates.host(tls))
            for host, tls in zip(
                HOSTS, ("nta.care.test", "nta.hospital.test", "mx.citizen.test"), strict=True
            )
        }
        for instance in self.postfix.values():
            instance.write()
        (self.directory / "mailboxes").mkdir()
        self._write_opendkim()
        self._write_logins()
        milter_settings(self.directory / "care" / "nta-milter", certificates, self._settings)

    def _write_opendkim(self) -> None:
        folder = self.directory / "opendkim"
        folder.mkdir()
        shutil.copy(self.certificates.plain_key("dkim"), folder / f"{DKIM_SELECTOR}.key")
        (folder / f"{DKIM_SELECTOR}.key").chmod(0o600)
        shutil.chown(folder / f"{DKIM_SELECTOR}.key", "opendkim", "opendkim")
        # libunbound in opendkim believes RFC 6761 that nothing exists under test.
        (folder / "resolver.conf").write_text(
            'server:\n  local-zone: "test." nodefault\n  do-not-query-localhost: no\n'
        )
        for host, mode, more in (("care", "s", ""), ("hospital", "v", REFUSE_UNSIGNED)):
            (folder / f"{host}.conf").write_text(
                OPENDKIM.format(mode=mode, selector=DKIM_SELECTOR, inside=INSIDE, more=more)
            )

    def _write_logins(self) -> None:
        care = self.directory / "care"
        (care / "etc" / "sasl").mkdir(exist_ok=True)
        (care / "queue" / "sasl").mkdir()
        (care / "etc" / "sasl" / "smtpd.conf").write_text(SASL)
        for user in USERS:
            (care / "home" / user).mkdir(parents=True)

    def _start(self) -> None:
        inside = self.namespace
        certificates = self.certificates
        accounts = [
            f"{user}:x:{64001 + number}:65534:{user}:{INSIDE}/care/home/{user}:/usr/sbin/nologin"
            for number, user in enumerate(USERS)
        ]
        inside.run(
            "bash", "-c", "cat >>/etc/passwd", stdin="".join(f"{each}\n" for each in accounts).encode()
        )
        for number, user in enumerate(USERS):
            shutil.chown(self.directory / "care" / "home" / user, 64001 + number)
            # smtpd in its chroot reads the file inside the queue folder.
            database = INSIDE / "care" / "queue" / "sasl" / "sasldb2"
            login = ("-f", database, "-p", "-c", "-u", "care.test", user)
            inside.run("saslpasswd2", *login, stdin=LOGIN_PASSWORD.encode())
        shutil.chown(self.directory / "care" / "queue" / "sasl" / "sasldb2", "postfix")
        self._dns = Dns(
            self.directory / "dns", zones(certificates), port=53, prefix=inside.prefix, seen=INSIDE / "dns"
        )
        self._dns.start()
        for instance in self.postfix.values():
            instance.prepare()
        self._start_stores()
        for host, listener in (
            ("care", "opendkim"),
            ("hospital", "nta.hospital"),
            ("hospital", "nta.clinic"),
        ):
            socket = self.postfix[host].host.queue / "opendkim" / f"{listener}.sock"
            self._daemon(
                "opendkim", "-f", "-x", INSIDE / "opendkim" / f"{host}.conf", "-p", f"local:{socket}"
            )
        if self._download:
            self._make_store()
        if self._milter_command is not None:
            self.start_milter()
        for instance in self.postfix.values():
            instance.start()
        self._runs = True
        self._wait_until_probed()
        if self._download:
            for service in ("worker", "portal"):
                self.start_service(service)

    def _make_store(self) -> None:
        secrets = INSIDE / "care" / "nta-milter" / "secrets"
        status, said = self.nta_milter(
            "store", "init", "--secrets", str(secrets), "--config", str(self.configuration)
        )
        if status:
            raise LaboratoryError(f"nta-milter store init: {said}")

    def _start_stores(self) -> None:
        places = []
        for name, (host, file) in STORES.items():
            path = self.postfix[host].host.queue / "private" / file
            places.append(f"{name}={path},care.test" if host == "care" else f"{name}={path}")
        self._daemon(
            sys.executable, "-m", "tests.laboratory.lmtp", INSIDE / "mailboxes", *places, ready="ready"
        )

    def _daemon(self, *command: str | Path, ready: str = "") -> Process:
        log = self.directory / f"{Path(command[0]).name}-{len(list(self.directory.glob('*.log')))}.log"
        started = self.namespace.popen(*command, log=log, environment=_environment())
        limit = time.monotonic() + START_LIMIT
        while ready not in log.read_text():
            if started.ended() or time.monotonic() > limit:
                raise NamespaceError(f"{' '.join(map(str, command))} does not start: {log.read_text()}")
            time.sleep(0.02)
        return started


def _environment() -> dict[str, str]:
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": str(CHECKOUT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }
