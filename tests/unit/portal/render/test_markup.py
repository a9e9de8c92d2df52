"""HTML mail: with nh3 what is left is harmless; without it there is none."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.portal.render import markup
from tests.integration.portal.mails import PNG

HOSTILE = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=https://evil.test/x.js></SCRIPT>",
    "<img src=x onerror=alert(1)>",
    "<img src='https://tracker.test/open.gif'>",
    "<img srcset='https://tracker.test/open.gif 2x'>",
    "<svg onload=alert(1)><script>alert(1)</script></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<iframe src=https://evil.test></iframe>",
    "<object data=https://evil.test></object>",
    "<embed src=https://evil.test>",
    "<form action=https://evil.test><input name=code><button>Log in</button></form>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href='JaVaScRiPt&colon;alert(1)'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<a href='cid:logo'>x</a>",
    "<base href=https://evil.test/>",
    "<meta http-equiv=refresh content='0;url=https://evil.test'>",
    "<link rel=stylesheet href=https://evil.test/x.css>",
    "<style>@import url(https://evil.test/x.css);</style>",
    "<video src=https://evil.test poster=https://evil.test></video>",
    "<audio src=https://evil.test></audio>",
    "<table background=https://evil.test/x.gif><tr><td background=https://evil.test>x</td></tr></table>",
    "<p id=content class=skip>x</p>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<textarea><script>alert(1)</script></textarea>",
    "</body></html><script>alert(1)</script>",
    "<!--[if mso]><script>alert(1)</script><![endif]-->",
    "<img src='CID:logo' onload=alert(1)>",
]


class Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


def tags(text: str) -> list[tuple[str, dict[str, str | None]]]:
    seen = Seen()
    seen.feed(text)
    return seen.tags


def harmless(text: str) -> str:
    pictures = {"logo": lambda: ("image/png", PNG), "svg": lambda: ("image/svg+xml", b"<svg/>")}
    return str(markup.harmless(text, pictures))


def check(cleaned: str) -> None:
    for tag, attributes in tags(cleaned):
        assert tag not in {
            "script",
            "iframe",
            "object",
            "embed",
            "form",
            "input",
            "base",
            "meta",
            "link",
            "style",
            "svg",
        }
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name not in {"id", "class", "srcset", "background", "poster", "action"}
            if name == "src":
                assert value.startswith("data:image/png;base64,")
            if name == "href":
                assert re.match(r"(https?|mailto|tel):", value)


if markup.available:

    @pytest.mark.parametrize("text", HOSTILE)
    def test_nothing_that_acts_or_asks_is_left(text):
        check(harmless(text))

    @given(
        st.lists(st.sampled_from([*HOSTILE, "<b>", "</b>", "<p>", '"', "'", ">", "<", "&lt;", "\0"])).map(
            "".join
        )
    )
    def test_nothing_that_acts_is_left_of_any_mixture(text):
        check(harmless(text))

    def test_what_a_mail_needs_stays():
        text = (
            '<p style="color: red">Beste <b>Jan</b></p><a href="https://care.test/uitleg">uitleg</a>'
            '<table border="1"><tr><td colspan="2">x</td></tr></table>'
            '<font color="red">rood</font><img src="cid:logo" alt="Logo">'
        )
        cleaned = harmless(text)
        assert '<p style="color: red">Beste <b>Jan</b></p>' in cleaned
        assert '<td colspan="2">x</td>' in cleaned
        assert '<font color="red">rood</font>' in cleaned
        ((_, link),) = [each for each in tags(cleaned) if each[0] == "a"]
        assert link == {"href": "https://care.test/uitleg", "target": "_blank", "rel": "noopener noreferrer"}
        assert 'src="data:image/png;base64,' in cleaned

    def test_a_picture_that_is_none_of_ours_or_too_big_is_left_out():
        assert "src=" not in harmless("<img src='cid:svg'>")
        assert "src=" not in harmless("<img src='cid:unknown'>")
        big = {"big": lambda: ("image/png", b"x" * (markup.PICTURE_BYTES // 2 + 1))}
        twice = str(markup.harmless("<img src='cid:big'><img src='cid:big'>", big))
        assert twice.count("data:image/png") == 1

    @pytest.mark.parametrize("piece", ["<div>", "<b></i>", "<a><div></a>", "<table><b>x", "<TABLE><tr><td>"])
    def test_what_is_nested_too_deeply_comes_as_text(piece):
        cleaned = harmless("Beste Jan" + piece * (1_000_000 // len(piece)))
        assert cleaned.startswith("<pre>Beste Jan")
        assert len(tags(cleaned)) == 1

else:

    def test_without_nh3_the_portal_says_that_there_is_no_html():
        assert markup.available is False


def test_long_mails_are_not_deep():
    assert not markup.is_deep("<div><p>a<br><ul><li>b<li>c</ul><table><tr><td>d<td>e</table></div>" * 10_000)
    assert markup.is_deep("<div>" * 501)
    assert not markup.is_deep("<div>" * 500)


def test_plain_text_between_html_is_text():
    assert markup.preformatted("<b>&") == "<pre>&lt;b&gt;&amp;</pre>"


def test_the_frame_may_do_nothing():
    assert "allow-scripts" not in markup.POLICY
    assert "allow-same-origin" not in markup.POLICY
    assert "allow-forms" not in markup.POLICY
    assert "http" not in markup.POLICY
