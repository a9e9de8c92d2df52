"""20 MB from the portal, decrypted on the way, against nginx sending the plain file by sendfile.

The bar is 4.0 times the time of nginx, so 0.25 of its rate.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.measure import Case, Comparison, Sample
from tests.integration.portal.mails import message, pseudo_random
from tests.integration.portal.site import Site
from tests.laboratory.ports import free_port

SIZE = 20_000_000
BAR = 0.25
REPEATS = 8
"""Downloads in one measurement of the short form."""

_BUFFER = bytearray(1 << 20)
_TICK = os.sysconf("SC_CLK_TCK")

_NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off; sendfile on; tcp_nopush on; default_type application/octet-stream;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    server {{ listen 127.0.0.1:{plain}; root {folder}/files; }}
    server {{
        listen 127.0.0.1:{proxied};
        proxy_max_temp_file_size 0; proxy_request_buffering off;
        location / {{ proxy_pass http://127.0.0.1:{portal}; proxy_set_header X-Forwarded-For $remote_addr; }}
    }}
}}
"""


@contextmanager
def cases(folder: Path, scale: int) -> Iterator[tuple[Case, ...]]:
    """A stored message of 20 MB as it is, and an attachment of 20 MB, which is base64 in its message."""
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if nginx is None:
        raise FileNotFoundError("nginx is not installed")
    (folder / "site").mkdir()
    site = Site(folder / "site")
    site.start()
    plain, proxied = free_port(), free_port()
    (folder / "files").mkdir()
    stored = _stored()
    attachment = pseudo_random(SIZE)
    (folder / "files" / "plain").write_bytes(attachment)
    (folder / "nginx.conf").write_text(
        _NGINX.format(folder=folder, plain=plain, proxied=proxied, portal=site.port)
    )
    server = subprocess.Popen([nginx, "-p", folder, "-c", folder / "nginx.conf"], stderr=subprocess.DEVNULL)
    try:
        _wait(plain)
        visitor = site.visitor()
        whole = visitor.open(site.deposit(stored)) + "/message.eml"
        file = visitor.open(site.deposit(message(files={"a.bin": attachment}))) + "/attachment/0"
        cookies = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())

        def party(port: int, path: str, process: int):
            return lambda: _download(port, path, cookies, process, REPEATS * scale)

        assert site.process is not None
        by_nginx = party(plain, "/plain", server.pid)
        yield tuple(
            Case(
                f"download of 20 MB, {name}",
                {
                    "portal": party(site.port, path, site.process.pid),
                    "nginx": by_nginx,
                    "both": party(proxied, path, site.process.pid),
                },
                (Comparison("portal", "nginx", BAR), Comparison("both", "nginx")),
            )
            for name, path in (("as stored", whole), ("an attachment", file))
        )
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(10)
        site.stop()


def _stored() -> bytes:
    head = b"From: doctor@care.test\r\nTo: jan@citizen.test\r\nContent-Type: application/octet-stream\r\n"
    head += b"Content-Transfer-Encoding: binary\r\n\r\n"
    return head + pseudo_random(SIZE - len(head))


def _wait(port: int) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def _download(port: int, path: str, cookies: str, process: int, times: int) -> Sample:
    request = (
        f"GET {path} HTTP/1.1\r\nHost: care.test\r\nConnection: close\r\nX-Forwarded-For: 192.0.2.10\r\n"
        f"Cookie: {cookies}\r\n\r\n"
    ).encode()
    cpu, began = _cpu(process), time.perf_counter()
    for _ in range(times):
        received = 0
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(request)
            while count := connection.recv_into(_BUFFER):
                received += count
        if received < SIZE:
            raise AssertionError(f"{received} bytes came of {path}: {bytes(_BUFFER[:300])!r}")
    return Sample(times, time.perf_counter() - began, _cpu(process) - cpu)


def _cpu(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK
