"""The laboratory: a miniature internet on one machine, for tests and for ``packaging/quickstart``.

::

    with Laboratory(tmp_path / "laboratory") as laboratory:
        reply = laboratory.send("doctor@care.test", "doctor@care.test", ["nurse@hospital.test"], message)
        mails = laboratory.mailbox("nta.hospital", "nurse@hospital.test")
"""

from tests.laboratory.certificates import Certificates, OpensslError, Pair, openssl
from tests.laboratory.client import Reply
from tests.laboratory.dns import Dns, Zone, txt
from tests.laboratory.laboratory import Laboratory, LaboratoryError
from tests.laboratory.namespace import INSIDE, Namespace, NamespaceError, missing_privilege
from tests.laboratory.store import Delivered

__all__ = [
    "INSIDE",
    "Certificates",
    "Delivered",
    "Dns",
    "Laboratory",
    "LaboratoryError",
    "Namespace",
    "NamespaceError",
    "OpensslError",
    "Pair",
    "Reply",
    "Zone",
    "missing_privilege",
    "openssl",
    "txt",
]
