"""Pages from templates: Jinja2 of our own making, everything escaped, nothing undefined."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from nta_milter.portal.language import Language, languages

STATIC = Path(__file__).with_name("static")
TYPES = {"portal.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}
"""Every file that is served as it is, with its type."""

# Drawn for a field of 24 x 24 with a line of 1.75.
_ICONS = {
    "shield": '<path d="M12 3l7.5 2.8v5.5c0 4.6-3 7.9-7.5 9.7-4.5-1.8-7.5-5.1-7.5-9.7V5.8z"/>'
    '<path d="M8.7 11.9l2.4 2.4 4.3-4.5"/>',
    "lock": '<rect x="5" y="10.5" width="14" height="9.5" rx="2"/><path d="M8 10.5V8a4 4 0 0 1 8 0v2.5"/>',
    "envelope": '<rect x="3" y="5.5" width="18" height="13" rx="2"/><path d="M3.5 7l8.5 6.5L20.5 7"/>',
    "warning": '<circle cx="12" cy="12" r="9"/><path d="M12 7.5v5.2M12 16.2v.1"/>',
    "check": '<circle cx="12" cy="12" r="9"/><path d="M8 12.3l2.7 2.7 5.3-5.6"/>',
    "file": '<path d="M6 3.5h8l4.5 4.5v12.5H6z"/><path d="M13.5 3.5V8.5h5"/>',
    "download": '<path d="M12 4v11M7.5 10.8L12 15.3l4.5-4.5M5 19.5h14"/>',
    "reply": '<path d="M9.5 6L4 11.5 9.5 17M4.5 11.5H14c3.5 0 6 2.2 6 6v.5"/>',
    "send": '<path d="M20.5 3.5L3.5 10.3l6.7 3.5 3.5 6.7zM10.2 13.8l4.3-4.3"/>',
    "bin": '<path d="M4.5 6.5h15M9.5 6V4h5v2M6.5 6.5l1 13.5h9l1-13.5M10.3 10v6.5M13.7 10v6.5"/>',
}


def icon(name: str) -> Markup:
    """A drawing beside words that say the same."""
    return Markup(  # noqa: S704 - the drawings above
        '<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false" fill="none" '
        'stroke="currentColor" stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round">'
        f"{_ICONS[name]}</svg>"
    )


@cache
def static(name: str) -> str:
    """The path of a static file; it changes with the content, so that browsers may keep it."""
    return f"/static/{hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:16]}/{name}"


@cache
def environment() -> Environment:
    """Where the templates are rendered."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(icon=icon, static=static, languages=tuple(languages().values()))
    return made


def render(template: str, language: Language, **values: object) -> str:
    """One page in one language."""
    return environment().get_template(template).render(t=language, **values)
