"""One milter for all these tests, with the domains whose records are odd."""

import pytest

from tests.laboratory.alone import Alone
from tests.laboratory.dns import Zone, txt

VALID = "v=NTA7516-1;startdate=2024-01;enddate=2099-12;provider=X"
ODD = [
    Zone("long.test", [f"@ TXT {txt(VALID + ';x=' + 'y' * 4000)}", "@ MX 10 mx.long.test."]),
    Zone("two.test", [f"@ TXT {txt(VALID)}", f"@ TXT {txt(VALID.replace('2024', '2025'))}"]),
    Zone("malformed.test", [f"@ TXT {txt(VALID + ';ntamx=ten mx.malformed.test')}"]),
    Zone("stopper.test", [f"@ TXT {txt(VALID + ';ntamx=10 mx..stopper.test')}"]),
]


@pytest.fixture(scope="package")
def alone(tmp_path_factory):
    with Alone(tmp_path_factory.mktemp("alone"), 15311, ODD) as running:
        yield running
