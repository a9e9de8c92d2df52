"""A real rspamd at care.test, with the files of packaging/postfix/topologies/rspamd."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.laboratory.names import DKIM_SELECTOR
from tests.laboratory.namespace import INSIDE, Process
from tests.laboratory.postfix import SHIPPED
from tests.laboratory.topology import Topology

FRAGMENTS = SHIPPED / "topologies" / "rspamd"
SOCKETS = ("verifier", "signer")
WITHOUT = (
    *("asn", "bimi", "dcc", "fuzzy_check", "greylist", "hfilter", "history_redis", "mx_check", "neural"),
    *("phishing", "ratelimit", "rbl", "replies", "reputation", "rspamd_update", "surbl", "url_redirector"),
    "whitelist",
)
"""Modules that want redis, the internet, or names of clients, which are not there."""

OPTIONS = f'''check_local = true;
enable_test_patterns = true;
gtube_patterns = "all";
task_timeout = 60s;
dns {{ timeout = 10s; }}
url_tld = "{INSIDE}/rspamd/suffixes";
'''
"""Everybody here has a loopback address, of which rspamd does not check SPF; it has patterns for tests (under
one name or the other); a busy machine is slow; and to compile all public suffixes takes ten seconds."""


def start(site: Topology) -> Process:
    """Write its files and start it; Postfix of care.test reaches it by SOCKETS."""
    home = site.directory / "rspamd"
    shutil.copytree(FRAGMENTS / "local.d", home / "local.d")
    shutil.copy(FRAGMENTS / "rspamd.conf.local", home)
    for module in WITHOUT:
        (home / "local.d" / f"{module}.conf").write_text("enabled = false;\n")
    (home / "suffixes").write_text("test\n")
    _add(home / "local.d" / "options.inc", OPTIONS)
    _add(home / "local.d" / "logging.inc", 'type = "console";\n')
    for worker in ("normal", "controller"):
        _add(home / "local.d" / f"worker-{worker}.inc", "enabled = false;\n")
    signing = home / "local.d" / "dkim_signing.conf"
    signing.write_text(
        signing.read_text()
        .replace('"mail"', f'"{DKIM_SELECTOR}"')
        .replace("/var/lib/rspamd", f"{INSIDE}/rspamd/data")
    )
    keys = home / "data" / "dkim"
    keys.mkdir(parents=True)
    key = keys / f"care.test.{DKIM_SELECTOR}.key"
    shutil.copy(site.certificates.plain_key("dkim"), key)
    for each in (home / "data", keys, key):
        shutil.chown(each, "_rspamd", "_rspamd")
    key.chmod(0o600)
    sockets = site.postfix["care"].home / "queue" / "rspamd"
    sockets.mkdir()
    shutil.chown(sockets, "_rspamd", "postfix")
    sockets.chmod(0o2770)
    variables = {"LOCAL_CONFDIR": "", "DBDIR": "/data", "LOGDIR": "/data", "RUNDIR": "/data"}
    started = site._daemon(
        *("rspamd", "--no-fork", "--user", "_rspamd", "--group", "_rspamd"),
        *(f"--var={name}={INSIDE}/rspamd{folder}" for name, folder in variables.items()),
    )
    for name in SOCKETS:
        site.wait_for((sockets / f"{name}.sock").exists, f"rspamd's {name}")
    return started


def _add(file: Path, text: str) -> None:
    with file.open("a") as lines:
        lines.write(text)
