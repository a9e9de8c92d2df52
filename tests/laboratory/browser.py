"""A browser for the portal's pages, on its unix socket: cookies, forms as the pages have them, no script."""

from __future__ import annotations

import http.client
import secrets
from dataclasses import dataclass, field
from email.message import Message
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode, urljoin, urlsplit

from tests.laboratory.client import unix_connection

PATIENCE = 120.0
REDIRECTS = 5


class BrowserError(Exception):
    """The pages are not what a person could go on with; the text says what is shown."""


@dataclass
class Form:
    """A form of a page: where it goes, the fields as they stand, and the buttons that have a name."""

    action: str
    multipart: bool
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)


class _Reader(HTMLParser):
    """Forms, links and the text that a person sees."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.classes: dict[str, str] = {}
        self._open: list[tuple[str, str]] = []
        self._area = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what can be filled in and followed."""
        values = {name: value or "" for name, value in attrs}
        match tag:
            case "form":
                multipart = values.get("enctype") == "multipart/form-data"
                self.forms.append(Form(values.get("action", ""), multipart))
            case "input" if self.forms and values.get("type") != "file":
                self.forms[-1].fields[values["name"]] = values.get("value", "")
            case "textarea" if self.forms:
                self.forms[-1].fields[values["name"]] = ""
            case "button" if self.forms and "name" in values:
                self.forms[-1].buttons.append((values["name"], values.get("value", "")))
            case "a":
                self.links.append(values.get("href", ""))
        if tag == "div":
            self._open.append((tag, values.get("class", "")))

    def handle_endtag(self, tag: str) -> None:
        """Leave a block."""
        if tag == "div" and self._open:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        """Note what can be read, and in which blocks."""
        self.words.append(data)
        for _, name in self._open:
            self.classes[name] = self.classes.get(name, "") + data


@dataclass(frozen=True)
class Page:
    """An answer of the portal and the path it came from."""

    path: str
    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        """What a person reads, its blanks folded."""
        return " ".join(" ".join(self._read().words).split())

    @property
    def forms(self) -> list[Form]:
        """The forms, in the order of the page."""
        return self._read().forms

    @property
    def links(self) -> list[str]:
        """Where its links lead."""
        return self._read().links

    def block(self, name: str) -> str:
        """The text of the blocks of one class, as it stands."""
        return self._read().classes.get(name, "")

    def _read(self) -> _Reader:
        reader = _Reader()
        reader.feed(self.body.decode())
        return reader


class Browser:
    """One person's browser; ``socket`` is where the portal listens, ``url`` the address that people know."""

    def __init__(self, socket: Path, url: str, language: str = "nl") -> None:
        self.cookies: dict[str, str] = {}
        self._socket = socket
        self._url = url
        self._language = language

    def path(self, link: str) -> str:
        """The path of a link of this portal; raises BrowserError for another's."""
        whole = urljoin(self._url, link)
        if not whole.startswith(self._url + "/"):
            raise BrowserError(f"{link} does not lead to {self._url}")
        parts = urlsplit(whole)
        return parts.path + (f"?{parts.query}" if parts.query else "")

    def request(self, method: str, path: str, body: bytes = b"", kind: str = "") -> Page:
        """One request, as a browser sends it; nothing is followed."""
        headers = {
            "Host": urlsplit(self._url).netloc,
            "Accept-Language": self._language,
            "X-Forwarded-For": "192.0.2.10",
        }
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if method == "POST":
            headers |= {"Content-Type": kind, "Origin": "null", "Sec-Fetch-Site": "same-origin"}
        connection = http.client.HTTPConnection("portal", timeout=PATIENCE)
        connection.sock = unix_connection(self._socket)
        connection.sock.settimeout(PATIENCE)
        try:
            connection.request(method, path, body if method == "POST" else None, headers)
            answer = connection.getresponse()
            page = Page(path, answer.status, answer.headers, answer.read())
        finally:
            connection.close()
        for given in page.headers.get_all("Set-Cookie", []):
            name, _, value = given.partition(";")[0].partition("=")
            self.cookies.pop(name, None)
            if value.strip('"'):
                self.cookies[name] = value
        return page

    def get(self, link: str) -> Page:
        """Follow a link, and where the answer sends us; raises BrowserError unless a page is there."""
        return self._followed(self.request("GET", self.path(link)))

    def submit(
        self,
        page: Page,
        action: str = "",
        *,
        button: tuple[str, str] | None = None,
        files: dict[str, bytes] | None = None,
        **fields: str,
    ) -> Page:
        """Fill in the page's form that goes to an action ending so, send it, and follow.

        ``button`` is the one that is pressed; ``files`` by their names. Raises BrowserError when the page has
        no such form or field, or the answer is an error.
        """
        form = next((each for each in page.forms if each.action.endswith(action)), None)
        unknown = set(fields) - set(form.fields if form else {})
        if form is None or unknown or (button and button not in form.buttons):
            raise BrowserError(f"no form {action} with {set(fields)} on the page: {page.text}")
        values = {**form.fields, **fields, **(dict([button]) if button else {})}
        if form.multipart:
            kind, body = _multipart(values, files or {})
        else:
            kind, body = "application/x-www-form-urlencoded", urlencode(values).encode()
        return self._followed(self.request("POST", self.path(form.action), body, kind))

    def _followed(self, page: Page) -> Page:
        for _ in range(REDIRECTS):
            if page.status != 303:
                break
            page = self.request("GET", self.path(page.headers["Location"]))
        if page.status != 200:
            raise BrowserError(f"{page.path} answers {page.status}: {page.text}")
        return page


def _multipart(fields: dict[str, str], files: dict[str, bytes]) -> tuple[str, bytes]:
    """A form with files as a browser writes it (RFC 7578)."""
    boundary = f"----form-{secrets.token_hex(12)}"
    pieces = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    for name, content in files.items() or {"": b""}.items():
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
        pieces.append(head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n")
    return f"multipart/form-data; boundary={boundary}", b"".join(pieces) + f"--{boundary}--\r\n".encode()
