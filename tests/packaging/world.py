"""The world around an installed nta-milter, run in a machine: DNS, mail store, the citizen's host.

``python3 -m tests.packaging.world FOLDER`` writes to FOLDER what an administrator has before he begins: a key
file with its password, a certificate of hospital.test, an authority. It prints ``ready`` and stays.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.laboratory.certificates import PASSWORD, Certificates
from tests.laboratory.dns import Dns
from tests.laboratory.names import zones

MAIL = Path("/srv/mail")
STORE = Path("/var/spool/postfix/private/dovecot-lmtp")
CITIZEN = "127.0.0.31:25"


def main() -> int:
    """Until SIGTERM."""
    folder = Path(sys.argv[1])
    certificates = Certificates(folder / "certificates")
    certificates.pkcs12(certificates.person("doctor@care.test", "Dokter de Wit"), folder / "gateway.p12")
    (folder / "gateway-password").write_text(f"{PASSWORD}\n")
    (folder / "gateway-password").chmod(0o600)
    gateway = certificates.gateway("hospital.test").certificate.read_bytes()
    (folder / "hospital.test.pem").write_bytes(gateway)
    (folder / "authority.pem").write_bytes(certificates.authority.certificate.read_bytes())
    citizen = MAIL / "citizen"
    citizen.mkdir(parents=True)
    citizen.chmod(0o777)
    lmtp = (sys.executable, "-m", "tests.laboratory.lmtp", MAIL, f"care={STORE},care.test")
    with Dns(folder / "dns", zones(certificates), port=53):
        subprocess.Popen(lmtp)
        subprocess.Popen(["smtp-sink", "-u", "postfix", "-d", citizen / "%s.", CITIZEN, "100"])
        while not STORE.is_socket():
            time.sleep(0.05)
        print("ready", flush=True)
        signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main())
