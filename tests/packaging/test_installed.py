"""The life of an installation, in order: every command of install.md, mail, upgrade, purge."""

import re
import time

import pytest

from tests.packaging.machine import CHECKOUT, ROOT, MachineError

BLOCKS = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "packaging/doc/install.md").read_text(), re.M | re.S)
PATIENCE = 60.0
USERS = ("nta-milter", "nta-worker", "nta-portal")
BSN = "Het BSN van mevrouw is 111222333, de diagnose is besproken."
PDF = """%PDF-1.4
1 0 obj <</Type /Catalog /Pages 2 0 R>> endobj
2 0 obj <</Type /Pages /Kids [3 0 R] /Count 1>> endobj
3 0 obj <</Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R
 /Resources <</Font <</F1 <</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>>>>>>> endobj
4 0 obj <</Length {length}>> stream
{text}
endstream endobj
trailer <</Root 1 0 R>>
"""


def pdf(words: str) -> str:
    """A PDF that pdftotext reads; it rebuilds the missing table of objects."""
    text = f"BT /F1 12 Tf 72 720 Td ({words}) Tj ET"
    return PDF.format(length=len(text), text=text)


def mail(recipient: str, text: str, attachment: str = "") -> str:
    fields = f"From: doctor@care.test\nTo: {recipient}\nSubject: overleg\nMIME-Version: 1.0\n"
    if not attachment:
        return f"{fields}Content-Type: text/plain; charset=utf-8\n\n{text}\n"
    return (
        f"{fields}Content-Type: multipart/mixed; boundary=grens\n\n"
        f"--grens\nContent-Type: text/plain\n\n{text}\n"
        f"--grens\nContent-Type: application/pdf; name=a.pdf\n"
        f"Content-Disposition: attachment; filename=a.pdf\n\n{attachment}\n--grens--\n"
    )


def send(machine, message: str, *recipients: str) -> None:
    (machine.folder / "srv" / "message.eml").write_text(message)
    machine.run(f"sendmail -i -f doctor@care.test {' '.join(recipients)} </srv/message.eml; postqueue -f")


def journal(machine, unit: str) -> str:
    return machine.run(f"journalctl --no-pager -o cat -u {unit}")


def wait_for(machine, script: str) -> str:
    """What a script prints once it succeeds."""
    end = time.monotonic() + PATIENCE
    while True:
        done = machine.try_run(script)
        if done.returncode == 0:
            return done.stdout
        if time.monotonic() > end:
            logs = machine.run(
                "journalctl --no-pager -o short-monotonic | tail -60; postqueue -p", check=False
            )
            raise MachineError(f"{script}: not seen; {done.stdout}\n{logs}")
        time.sleep(0.2)


def block_with(words: str) -> str:
    (found,) = [block for block in BLOCKS if words in block]
    return found


@pytest.fixture(scope="module")
def world(machine):
    """DNS, mail store, the citizen's host, a Postfix that works; in /root what an administrator brings."""
    machine.run(
        "postconf -e myhostname=mx.care.test mydestination=care.test local_recipient_maps= "
        "mailbox_transport=lmtp:unix:private/dovecot-lmtp smtp_bind_address=127.0.0.1"
    )
    machine.run(
        "systemctl mask --now unbound.service unbound-resolvconf.service; systemctl start postfix;"
        f"cd {CHECKOUT}; systemd-run --unit=world -E PYTHONPATH={CHECKOUT} -E PYTHONDONTWRITEBYTECODE=1 "
        "-E PYTHONUNBUFFERED=1 /usr/bin/python3 -m tests.packaging.world /root"
    )
    wait_for(machine, "journalctl -o cat -u world | grep -qx ready")
    return machine


def test_installing_starts_nothing_and_changes_nothing_of_postfix(machine):
    fingerprint = "cat /etc/postfix/main.cf /etc/postfix/master.cf | sha256sum; ls -A /etc/postfix"
    before = machine.run(fingerprint)
    said = machine.run(f"cd /root; {block_with('apt-get install')}")
    assert machine.run(fingerprint) == before
    assert "nta-milter doctor" in said
    assert said.endswith("nta-milter 0.1.0\n")
    for unit in ("nta-milter.service", "nta-worker.service", "nta-worker.socket", "nta-portal.socket"):
        state = machine.run(f"systemctl is-enabled {unit}; systemctl is-active {unit}", check=False)
        assert state.split() == ["disabled"], unit
        assert machine.run(f"systemctl is-active {unit} || true").strip() == "inactive"


def test_no_library_comes_from_elsewhere_than_debian(machine):
    where = machine.run(
        "cd /; python3 -c 'import asn1crypto, cryptography, dns, jinja2, Milter, nta_milter, OpenSSL; "
        "import aiosmtpd, sqlalchemy, starlette, uvicorn, sys; "
        'print(*{m.__file__ for m in sys.modules.values() if getattr(m, "__file__", None)}, sep="\\n")\''
    )
    assert {line.split("/lib/")[0] for line in where.split()} <= {"/usr", "/usr/bin/python3"}
    assert "dist-packages/nta_milter/" in where


def test_users_groups_and_modes_are_those_of_the_design(machine):
    for user in USERS:
        assert "nta-store" in machine.run(f"id -Gn {user}")
    assert "postdrop" in machine.run("id -Gn nta-worker")
    assert "postdrop" in machine.run("id -Gn nta-milter")
    assert "postdrop" not in machine.run("id -Gn nta-portal")
    modes = {
        "/etc/nta-milter/nta-milter.toml": "640 root nta-store",
        "/etc/nta-milter/keys": "750 root nta-milter",
        "/etc/nta-milter/certificates": "750 root nta-store",
        "/etc/nta-milter/secrets": "700 root root",
        "/etc/nta-milter/secrets/keys-password": "600 root root",
        "/etc/nta-milter/public": "755 root root",
        "/var/lib/nta-milter": "2770 root nta-store",
        "/var/lib/nta-milter/blobs": "2770 root nta-store",
        "/var/lib/nta-milter/audit.jsonl": "660 root nta-store",
        "/var/lib/nta-milter/spool": "700 nta-milter nta-milter",
        "/var/spool/postfix/nta-milter": "2750 nta-milter postfix",
        "/var/spool/postfix/nta-worker": "2750 nta-worker postfix",
    }
    assert {path: machine.run(f"stat -c '%a %U %G' {path}").strip() for path in modes} == modes


def test_a_start_without_policy_mode_says_so_in_one_line_and_is_not_repeated(machine):
    assert machine.try_run("systemctl start nta-milter").returncode != 0
    said = [line for line in journal(machine, "nta-milter").splitlines() if line.startswith("nta-milter: ")]
    assert len(said) == 1
    assert "policy.mode is missing" in said[0]
    assert machine.run("systemctl show -P NRestarts nta-milter").strip() == "0"
    assert machine.try_run("nta-milter config check").returncode == 2


@pytest.mark.parametrize("service", ["nta-worker", "nta-portal"])
def test_a_service_without_its_key_is_passed_over(machine, service):
    machine.run(f"systemctl start {service}")
    assert machine.run(f"systemctl show -P ConditionResult {service}").strip() == "no"


def test_every_command_of_the_manual_works_as_it_stands(world):
    said = {}
    for block in BLOCKS[1:]:
        done = world.try_run(f"cd /root; {block}")
        assert done.returncode == 0, f"{block}{done.stdout}\n{journal(world, 'nta-milter')}"
        said[block] = done.stdout
    assert said[block_with("is-active")].endswith("active\nactive\nactive\n")
    assert "FAULT" not in said[block_with("nta-milter doctor")]
    assert "hospital.test" in said[block_with("nta-milter check")]


def test_each_process_is_its_own_user(world):
    for service, user in (("nta-milter", "nta-milter"), ("nta-worker", "nta-worker"), ("nta-portal",) * 2):
        process = world.run(f"systemctl show -P MainPID {service}").strip()
        assert world.run(f"stat -c %U /proc/{process}").strip() == user
        assert re.search(r"NoNewPrivs:\s+1", world.run(f"cat /proc/{process}/status"))


def test_ordinary_mail_arrives_as_it_was(world):
    send(world, mail("colleague@care.test", "Zin in pannenkoeken?"), "colleague@care.test")
    arrived = wait_for(world, "cat /srv/mail/care/colleague@care.test/*.eml")
    assert "Zin in pannenkoeken?" in arrived


def test_a_pdf_is_read_in_its_namespace_under_the_sandbox(world):
    send(
        world,
        mail("jan@citizen.test", "Zie de bijlage.", pdf("De diagnose is besproken")),
        "jan@citizen.test",
    )
    notification = wait_for(world, "cat /srv/mail/citizen/*")
    assert "diagnose" not in notification
    assert "https://veilig.care.test/m/" in notification.replace("=\n", "")
    assert "route=portal" in journal(world, "nta-milter")
    assert "cannot be run" not in journal(world, "nta-milter")


def test_the_milter_may_make_the_namespaces_that_pdftotext_runs_in(world):
    sandbox = "systemctl show nta-milter -p RestrictNamespaces"
    assert "user" in world.run(sandbox)
    process = world.run("systemctl show -P MainPID nta-milter").strip()
    done = world.try_run(
        f"nsenter -t {process} -m -- setpriv --reuid nta-milter --clear-groups --no-new-privs "
        "unshare --user --net -- /usr/bin/pdftotext -v"
    )
    assert "pdftotext version" in done.stdout


def test_mail_that_goes_apart_is_committed_and_handed_in_by_the_worker(world):
    world.run("rm -f /srv/mail/citizen/*")
    world.run("echo roos-trein-77 | nta-milter recipients add piet@citizen.test --code-file -")
    send(world, mail("jan@citizen.test, piet@citizen.test", BSN), "jan@citizen.test", "piet@citizen.test")
    wait_for(world, 'test "$(ls /srv/mail/citizen | wc -l)" = 2')
    assert BSN not in world.run("cat /srv/mail/citizen/*")
    # without what systemd says of the unit, which on some kernels cannot kill an empty control group
    said = world.run("journalctl --no-pager -o cat _SYSTEMD_UNIT=nta-worker.service").lower()
    assert "event=started" in said
    assert "duty-failed" not in said
    assert "error" not in said


def test_the_worker_sees_the_queue_under_the_same_restrictions(world):
    process = world.run("systemctl show -P MainPID nta-worker").strip()
    listed = world.run(
        f"nsenter -t {process} -m -- "
        "setpriv --reuid nta-worker --regid nta-worker --init-groups --no-new-privs "
        "postqueue -j; echo status $?"
    )
    assert listed.endswith("status 0\n")


def test_the_web_server_reaches_the_portal_and_nobody_else_does(world):
    python = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/nta-portal/portal.sock'); "
        "s.sendall(b'GET / HTTP/1.1\\r\\nHost: veilig.care.test\\r\\nConnection: close\\r\\n\\r\\n'); "
        "print(s.recv(65536).decode()[:15])"
    )
    visitor = 'setpriv --reuid {0} --regid {1} --clear-groups python3 -c "' + python + '"'
    assert "HTTP/1.1 200" in world.run(visitor.format("www-data", "www-data"))
    assert "PermissionError" in world.run(visitor.format("nobody", "nogroup"), check=False)


def test_the_names_of_recipients_are_for_those_who_encrypt_to_them(world):
    names, listing = "/etc/nta-milter/certificates", "ls -l /etc/nta-milter/certificates/hospital.test.pem"
    for user in ("nta-milter", "nta-worker"):
        process = world.run(f"systemctl show -P MainPID {user}").strip()
        become = f"setpriv --reuid {user} --regid {user} --init-groups"
        world.run(f"nsenter -t {process} -m -- {become} {listing}")
    portal = world.run("systemctl show -P MainPID nta-portal").strip()
    assert world.run(f"nsenter -t {portal} -m -- stat -c '%a' {names}").strip() == "0"
    assert "Permission denied" in world.run(
        f"setpriv --reuid nobody --regid nogroup --clear-groups {listing}", check=False
    )


def test_the_services_tell_how_they_are_from_within_their_sandboxes(world):
    ports = {"milter": 9716, "worker": 9717, "portal": 9718}
    lines = "".join(f'{name} = "127.0.0.1:{port}"\\n' for name, port in ports.items())
    file = "/etc/nta-milter/conf.d/30-metrics.toml"
    restart = "systemctl restart nta-milter nta-worker nta-portal"
    world.run(f"printf '[metrics]\\n{lines}' >{file}; {restart}")
    said = wait_for(world, "nta-milter status")
    assert [word for word in USERS if f"{word} 0.1.0: up for " not in said] == []
    assert "nothing needs you" in said
    for name, port in ports.items():
        fetch = (
            f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}/metrics').read().decode())"
        )
        assert f'nta_milter_start_time_seconds{{service="{name}"}}' in world.run(f'python3 -c "{fetch}"')
    assert "metrics-off" not in journal(world, "nta-milter")
    world.run(f"rm {file}; {restart}")
    assert "nothing needs you" in wait_for(world, "nta-milter status")


@pytest.mark.parametrize("user", ["nta-portal", "nta-worker"])
def test_no_other_service_can_read_the_keys(world, user):
    become = f"setpriv --reuid {user} --regid {user} --init-groups"
    for path in ("/etc/nta-milter/keys", "/etc/nta-milter/secrets", "/var/lib/nta-milter/spool"):
        assert "Permission denied" in world.run(f"{become} ls {path}", check=False)
    files = world.run("ls /etc/nta-milter/keys/*").split()
    assert files
    for file in files:
        assert "Permission denied" in world.run(f"{become} cat {file}", check=False)
    process = world.run(f"systemctl show -P MainPID {user}").strip()
    inside = world.run(
        f"nsenter -t {process} -m -- stat -c '%a' /etc/nta-milter/keys /etc/nta-milter/secrets"
    )
    assert inside.split() == ["0", "0"]  # systemd's place for what is inaccessible


def test_a_reload_keeps_the_process_and_a_bad_file_keeps_the_old_state(world):
    before = world.run("systemctl show -P MainPID nta-milter")
    world.run("echo 'mode = \"sometimes\"' >/etc/nta-milter/conf.d/99-bad.toml; systemctl reload nta-milter")
    wait_for(world, "journalctl -o cat -u nta-milter | grep -q event=reload-refused")
    world.run("rm /etc/nta-milter/conf.d/99-bad.toml; systemctl reload nta-milter")
    wait_for(world, "journalctl -o cat -u nta-milter | tail -5 | grep -q event=reloaded")
    assert world.run("systemctl show -P MainPID nta-milter") == before


def test_an_upgrade_restarts_what_runs_and_keeps_what_was_made(world):
    state = "cat /etc/nta-milter/secrets/* /etc/nta-milter/public/* | sha256sum; id nta-milter"
    before, process = (
        world.run(state),
        world.run("systemctl show -P MainPID nta-milter nta-worker nta-portal"),
    )
    world.run("cd /root; dpkg -i *.deb", limit=90)
    assert world.run(state) == before
    after = world.run("systemctl show -P MainPID nta-milter nta-worker nta-portal")
    assert not set(process.split()) & set(after.split())
    assert world.run(block_with("is-active").splitlines()[1]).split() == ["active"] * 3


def test_an_upgrade_closes_the_folder_of_certificates_unless_an_administrator_keeps_it_open(world):
    folder = "/etc/nta-milter/certificates"
    opened = (
        f"chgrp root {folder}; chmod 755 {folder}; cd /root; dpkg -i nta-milter_*.deb; "
        f"stat -c '%a %G' {folder}"
    )
    assert world.run(opened, limit=90).endswith("\n750 nta-store\n")
    world.run(f"dpkg-statoverride --update --add root root 0755 {folder}")
    assert world.run(opened, limit=90).endswith("\n755 root\n")
    world.run(f"dpkg-statoverride --remove {folder}")


def test_the_services_stop_when_they_are_told_to(world):
    world.run("systemctl stop nta-worker.socket nta-worker nta-portal.socket nta-portal nta-milter", limit=60)
    for service in USERS:
        assert world.run(f"systemctl show -P Result {service}").strip() == "success"


def test_every_scenario_of_quickstart_holds_for_the_installed_command(world):
    world.run("systemctl stop world postfix", check=False)
    said = world.run(f"cd {CHECKOUT}; python3 -B -m tests.laboratory --once", check=False, limit=600)
    passed, failed = re.findall(r"^(\d+) passed, (\d+) failed$", said, re.M)[-1]
    assert (int(failed), said if int(failed) else "") == (0, "")
    assert int(passed) > 10


def test_removing_stops_and_keeps_everything_that_was_configured(world):
    world.run("apt-get remove --yes nta-portal nta-milter")
    assert "mode" in world.text("/etc/nta-milter/conf.d/10-organisation.toml")
    assert not (world.folder / "usr/bin/nta-milter").exists()
    assert (world.folder / "var/lib/nta-milter/store.sqlite").exists()


def test_purging_keeps_messages_and_keys_unless_they_are_given_up(world):
    world.run("apt-get purge --yes nta-portal nta-milter")
    assert (world.folder / "var/lib/nta-milter/store.sqlite").exists()
    assert (world.folder / "etc/nta-milter/secrets/worker-key").exists()
    assert not (world.folder / "var/spool/postfix/nta-milter").exists()
    assert world.run("ls /etc/systemd/system/*.wants | grep nta- || true") == ""


def test_purging_removes_all_when_told_to(world):
    world.run("cd /root; dpkg -i nta-milter_*.deb")
    world.run("echo nta-milter nta-milter/remove-store boolean true | debconf-set-selections")
    world.run("apt-get purge --yes nta-milter")
    assert not (world.folder / "var/lib/nta-milter").exists()
    assert not (world.folder / "etc/nta-milter").exists()
