"""HTML mail made harmless, for a sandboxed frame of its own; needs nh3 (extra ``html``).

Without nh3 the portal shows the text of a message only. Pictures are those of the message itself
(``cid:``, RFC 2392), written into the page: one from elsewhere would tell a stranger who reads when.
"""

from __future__ import annotations

import base64
import html
import re
from collections import Counter
from collections.abc import Callable, Mapping
from urllib.parse import unquote

from markupsafe import Markup

from nta_milter.portal.render.plain import text_of

try:
    import nh3
except ImportError:
    available = False
else:
    available = True

PICTURE_TYPES = frozenset(("image/png", "image/jpeg", "image/gif", "image/webp"))
PICTURE_BYTES = 5_000_000
"""Most bytes of pictures that are written into one page."""

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox"
)
"""Content-Security-Policy of the frame: no script, no request to anybody, an origin of its own."""

DEPTH_LIMIT = 500
"""Elements within each other; time to clean grows with the square of it, and browsers stop there too."""

_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]{0,19})")
_ENDED_BY_OTHERS = frozenset(
    ("area", "br", "col", "dd", "dt", "embed", "hr", "img", "input", "li", "link", "meta")
)
_ENDED_BY_OTHERS |= {"option", "p", "param", "source", "tbody", "td", "tfoot", "th", "thead", "tr", "wbr"}

_MORE_TAGS = {"address", "big", "font", "section", "tfoot"}
"""What mail programs write besides the tags that nh3 allows by itself."""
_CONTENT_TAGS = {"iframe", "math", "noscript", "object", "script", "select", "style", "svg", "template"}
_CONTENT_TAGS |= {"textarea", "title"}
_TABLE = {"align", "valign", "width", "height", "bgcolor"}
_ATTRIBUTES = {
    "*": {"style", "dir", "lang", "title"},
    "a": {"href"},
    "col": {"span", *_TABLE},
    "colgroup": {"span", *_TABLE},
    "font": {"color", "face", "size"},
    "hr": {"width", "size", "color"},
    "img": {"src", "alt", "width", "height"},
    "li": {"value"},
    "ol": {"start", "type"},
    "p": {"align"},
    "div": {"align"},
    "table": {"border", "cellpadding", "cellspacing", *_TABLE},
    "td": {"colspan", "rowspan", "nowrap", *_TABLE},
    "th": {"colspan", "rowspan", "scope", *_TABLE},
    "tr": _TABLE,
}
_SCHEMES = {"http", "https", "mailto", "tel", "cid"}

Picture = Callable[[], tuple[str, bytes]]
"""Gives the type and the bytes of a picture when it is asked for."""


def preformatted(text: str) -> str:
    """Plain text as HTML."""
    return f"<pre>{html.escape(text)}</pre>"


def is_deep(markup: str) -> bool:
    """Whether more than DEPTH_LIMIT elements may be open at the same time."""
    opened: Counter[str] = Counter()
    depth = 0
    for closing, written in _TAG.findall(markup):
        name = written.lower()
        if name in _ENDED_BY_OTHERS:
            continue
        if not closing:
            opened[name] += 1
            depth += 1
        elif opened[name]:
            opened[name] -= 1
            depth -= 1
        if depth > DEPTH_LIMIT:
            return True
    return False


def harmless(markup: str, pictures: Mapping[str, Picture]) -> Markup:
    """The markup without whatever could act; ``pictures`` are by Content-ID without angle brackets.

    What is nested too deeply comes as text.
    """
    if is_deep(markup):
        markup = preformatted(text_of(markup))
    room = PICTURE_BYTES

    def attribute(tag: str, name: str, value: str) -> str | None:
        nonlocal room
        scheme, colon, reference = value.strip().partition(":")
        local = bool(colon) and scheme.strip().lower() == "cid"
        if (tag, name) != ("img", "src"):
            return None if local and name == "href" else value
        picture = pictures.get(unquote(reference)) if local else None
        if picture is None:
            return None
        kind, content = picture()
        room -= len(content)
        if kind not in PICTURE_TYPES or room < 0:
            return None
        return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"

    cleaned = nh3.clean(
        markup,
        tags=nh3.ALLOWED_TAGS | _MORE_TAGS,
        clean_content_tags=_CONTENT_TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=attribute,
        url_schemes=_SCHEMES,
        link_rel="noopener noreferrer",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
    return Markup(cleaned)  # noqa: S704 - cleaned just now
