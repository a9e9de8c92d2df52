import os
import socket
import subprocess
import sys

import pytest

from nta_milter.errors import ConfigurationError
from nta_milter.portal.server import listening


def test_a_unix_socket_is_for_its_group_and_replaces_a_stale_one(tmp_path):
    where = f"unix:{tmp_path}/p.sock"
    listening(where).close()
    with listening(where), socket.socket(socket.AF_UNIX) as client:
        assert (tmp_path / "p.sock").stat().st_mode & 0o777 == 0o660
        client.connect(f"{tmp_path}/p.sock")


def test_a_port_of_loopback_is_opened():
    with listening("inet:0@127.0.0.1") as listener, socket.socket() as client:
        client.connect(listener.getsockname())
        assert client.getpeername()[0] == "127.0.0.1"


@pytest.mark.parametrize("where", ["", "/run/x", "unix:relative", "inet:80@192.0.2.1", "inet:x@127.0.0.1"])
def test_what_is_no_socket_of_ours_is_refused(where):
    with pytest.raises(ConfigurationError, match="is neither unix:/PATH nor inet:"):
        listening(where)


@pytest.mark.parametrize("where", ["unix:/nowhere/p.sock", "inet:99999@127.0.0.1"])
def test_a_socket_that_cannot_be_opened_is_said_so(where):
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        listening(where)


def test_a_file_in_the_way_is_left_alone(tmp_path):
    (tmp_path / "p.sock").write_text("precious")
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        listening(f"unix:{tmp_path}/p.sock")
    assert (tmp_path / "p.sock").read_text() == "precious"


def test_systemd_hands_a_socket_over(tmp_path):
    with socket.socket() as given:
        given.bind(("127.0.0.1", 0))
        given.listen(1)
        code = (
            f"import os; os.dup2({given.fileno()}, 3); os.environ['LISTEN_PID'] = str(os.getpid());"
            "from nta_milter.portal.server import listening;"
            "print(listening('unix:/nowhere/p.sock').getsockname()[1])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            pass_fds=[given.fileno()],
            env={**os.environ, "LISTEN_FDS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert int(done.stdout) == given.getsockname()[1]
