"""What the units promise, by systemd's own judgement and beside the program's constants."""

import re
import subprocess

import pytest

from nta_milter.milter.supervisor import STOP_PATIENCE
from tests.packaging.machine import ROOT

SERVICES = sorted((ROOT / "systemd").glob("*.service"))
EXPOSURE_LIMIT = 1.5


def settings(path, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", path.read_text(), re.M)


def test_there_are_three_services():
    assert [path.stem for path in SERVICES] == ["nta-milter", "nta-portal", "nta-worker"]


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)
def test_the_exposure_is_small(path):
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", path], capture_output=True, text=True, check=True
    )
    found = re.search(r"Overall exposure level for \S+: (\d+\.\d)", done.stdout)
    assert found, done.stdout
    assert float(found[1]) <= EXPOSURE_LIMIT


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)
def test_each_service_is_a_user_of_its_own_that_says_when_it_is_ready(path):
    assert settings(path, "User") == [path.stem]
    assert settings(path, "Type") == ["notify"]
    assert settings(path, "UMask") == ["0007"]
    assert settings(path, "RestartPreventExitStatus") == ["2"]


def test_the_milter_is_given_the_time_that_its_longest_message_takes():
    (unit,) = [path for path in SERVICES if path.stem == "nta-milter"]
    assert int(settings(unit, "TimeoutStopSec")[0]) > STOP_PATIENCE
    assert settings(unit, "ExecReload") == ["/bin/kill -HUP $MAINPID"]


def test_each_secret_goes_to_one_service():
    given = {
        path.stem: [text.split(":")[0] for text in settings(path, "LoadCredential")] for path in SERVICES
    }
    assert given == {
        "nta-milter": ["keys-password"],
        "nta-portal": ["portal-key"],
        "nta-worker": ["worker-key", "audit-key"],
    }
