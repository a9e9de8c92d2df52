"""The web server's configuration that we ship, on a real nginx before a real portal on a unix socket."""

import http.client
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest

from nta_milter.portal.asgi import FIELDS
from tests.integration.portal.mails import message, pseudo_random
from tests.integration.portal.site import CODE, Site
from tests.laboratory.ports import free_port

SHIPPED = Path(__file__).resolve().parents[3] / "packaging" / "nginx" / "nta-portal.conf"
BIG = message(files={"groot.bin": pseudo_random(20_000_000)})


class Nginx:
    """nginx with the shipped file; only names of this machine are changed in it."""

    def __init__(self, folder: Path, site: Site) -> None:
        nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
        assert nginx, "nginx is not installed"
        self.folder, self.tls, self.plain = folder, free_port(), free_port()
        request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=veilig.care.test"
        more = ["-addext", "subjectAltName=DNS:veilig.care.test", "-keyout", folder / "key.pem"]
        subprocess.run(
            ["openssl", *request.split(), *more, "-out", folder / "fullchain.pem"],
            check=True,
            capture_output=True,
        )
        text = SHIPPED.read_text()
        for shipped, here in (
            ("/run/nta-portal/portal.sock", str(site.unix)),
            ("/etc/ssl/nta-portal", str(folder)),
            ("/var/log/nginx", str(folder)),
        ):
            assert shipped in text
            text = text.replace(shipped, here)
        text = re.sub(r"listen \[::\]:\d+( ssl)?;", "", text)
        text = text.replace("listen 80;", f"listen 127.0.0.1:{self.plain};")
        text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{self.tls} ssl;")
        (folder / "site.conf").write_text(text)
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        paths = "".join(
            f"{name}_temp_path {self.temporary}/{name};"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"daemon off; pid {folder}/pid; user root; events {{ }} error_log {folder}/main.log;"
            f"http {{ {paths} access_log {folder}/access.log; include {folder}/site.conf; }}"
        )
        self.process = subprocess.Popen([nginx, "-p", folder, "-c", folder / "nginx.conf"])
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.tls), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError((folder / "main.log").read_text())

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.folder / "fullchain.pem")

    def connect(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        return context.wrap_socket(
            socket.create_connection(("127.0.0.1", self.tls), 10), server_hostname="veilig.care.test"
        )

    def request(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None):
        connection = http.client.HTTPConnection("veilig.care.test")
        connection.sock = self.connect(self.context())
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def files(self) -> list[str]:
        """What nginx has put in temporary files: with a name, or open without one."""
        named = [str(path) for path in self.temporary.rglob("*") if path.is_file()]
        held = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                parent = re.search(r"PPid:\t(\d+)", (process / "status").read_text())[1]
                if parent == str(self.process.pid):
                    held += [str(each.readlink()) for each in (process / "fd").iterdir()]
            except OSError:
                continue
        return named + [path for path in held if str(self.temporary) in path]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    running = Site(tmp_path_factory.mktemp("portal"), on_unix_socket=True)
    running.start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def nginx(tmp_path_factory, site):
    running = Nginx(tmp_path_factory.mktemp("nginx"), site)
    yield running
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(20) == 0


@pytest.fixture(scope="module")
def opened(site, nginx):
    """A message with 20 MB and the header fields of who has opened it."""
    deposited = site.deposit(BIG)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    status, headers, _ = nginx.request("POST", deposited.path, urlencode({"code": CODE}).encode(), form)
    assert status == 303
    return deposited, headers["Location"], {"Cookie": headers["Set-Cookie"].split(";")[0]}


def test_pages_come_through_with_their_own_header_fields(nginx):
    status, headers, body = nginx.request("GET", "/")
    assert status == 200
    assert b"Beveiligde berichten" in body
    for name, value in FIELDS:
        assert headers.get_all(name.decode()) == [value.decode()]
    assert headers["Server"] == "nginx"


def test_http_leads_to_https(nginx):
    connection = http.client.HTTPConnection("127.0.0.1", nginx.plain)
    connection.request("GET", "/m/x", headers={"Host": "evil.test"})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) == (301, "https://veilig.care.test/m/x")
    connection.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_good_tls_is_spoken(nginx, version):
    context = nginx.context()
    context.minimum_version = context.maximum_version = version
    with nginx.connect(context) as connection:
        name = connection.cipher()[0]
    assert "GCM" in name or "CHACHA20" in name


@pytest.mark.parametrize("suites", ["AES256-SHA", "ECDHE-ECDSA-AES128-SHA256", "AES128-GCM-SHA256"])
def test_other_tls_is_refused(nginx, suites):
    context = nginx.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{suites}:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        nginx.connect(context)


@pytest.mark.filterwarnings("ignore:.*TLSv1_1 is deprecated:DeprecationWarning")
def test_old_tls_is_refused(nginx):
    context = nginx.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        nginx.connect(context)


def test_a_slow_download_leaves_nothing_readable_on_disk(nginx, opened):
    _, path, cookie = opened
    connection = http.client.HTTPConnection("veilig.care.test")
    connection.sock = nginx.connect(nginx.context())
    connection.request("GET", f"{path}/message.eml", headers=cookie)
    answer = connection.getresponse()
    received = answer.read(100_000)
    time.sleep(1)
    assert nginx.files() == []
    received += answer.read()
    connection.close()
    assert received == BIG


def test_an_upload_leaves_nothing_readable_on_disk(nginx, site, opened):
    _, path, cookie = opened
    page = nginx.request("GET", f"{path}/reply", headers=cookie)[2].decode()
    token = re.search(r'name="token" value="(\w+)"', page)[1]
    fields = {"token": token, "once": "0" * 32, "text": "Zie bijlage"}
    body = b"".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    )
    body += b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.bin"\r\n\r\n'
    body += pseudo_random(19_000_000, 2) + b"\r\n--b--\r\n"
    connection = nginx.connect(nginx.context())
    head = (
        f"POST {path}/reply HTTP/1.1\r\nHost: veilig.care.test\r\nConnection: close\r\n"
        f"Cookie: {cookie['Cookie']}\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body[:15_000_000])
    time.sleep(0.5)
    assert nginx.files() == []
    connection.sendall(body[15_000_000:])
    assert connection.recv(100).startswith(b"HTTP/1.1 303 ")
    connection.close()
    sizes = [each.size for each in site.store.handover.list_deliveries(sender="jan@citizen.test")]
    assert max(sizes) > 19_000_000


def test_a_body_that_is_too_long_is_refused(nginx, opened):
    _, path, cookie = opened
    headers = {**cookie, "Content-Type": "multipart/form-data; boundary=b", "Content-Length": "30000000"}
    assert nginx.request("POST", f"{path}/reply", b"", headers)[0] == 413


def test_no_link_is_logged(nginx, site, opened):
    deposited, *_ = opened
    nginx.request("GET", deposited.path)
    nginx.request("GET", f"/message/{deposited.delivery_id}")
    for log in nginx.folder.glob("*.log"):
        text = log.read_text()
        assert deposited.token.text not in text
        assert deposited.delivery_id not in text
    assert deposited.token.text not in site.log


def test_the_socket_is_for_its_group_alone(site):
    assert site.unix.stat().st_mode & 0o777 == 0o660


def test_the_client_is_who_nginx_says_it_is(nginx, site):
    deposited = site.deposit(message(), "forwarded@citizen.test")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for number in range(6):
        headers = {**form, "X-Forwarded-For": f"198.51.{number}.7"}
        status, *_ = nginx.request("POST", deposited.path, b"code=wrong-code-1", headers)
    assert status == 429
