import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.portal.render.plain import text_of


def test_blocks_begin_lines_and_paragraphs_are_apart():
    markup = (
        "<html><head><title>t</title><style>p { color: red }</style></head><body>"
        "<h1>Uitslag</h1><p>Beste <b>Jan</b>,<br>alles is\n goed.</p>"
        "<ul><li>suiker</li><li>nieren</li></ul><div>Groet</div><div>Anna &amp; co</div></body></html>"
    )
    assert (
        text_of(markup) == "Uitslag\n\nBeste Jan,\nalles is goed.\n\n• suiker\n• nieren\n\nGroet\nAnna & co"
    )


def test_what_is_not_shown_is_no_text():
    assert text_of("a<!-- geheim -->b<script>alert('<p>')</script>c<STYLE>x</STYLE >d") == "abcd"
    assert text_of("voor<script>nooit gesloten") == "voor"
    assert text_of("voor<!-- nooit gesloten") == "voor"


def test_an_angle_bracket_is_not_always_a_tag():
    assert text_of("1 < 2 &lt; 3 > 0") == "1 < 2 < 3 > 0"


def test_a_table_keeps_its_cells_apart():
    assert text_of("<table><tr><td>HbA1c</td><td>48</td></tr><tr><td>eGFR</td><td>71</td></tr></table>") == (
        "HbA1c 48\neGFR 71"
    )


def test_a_huge_number_is_no_character():
    assert text_of(f"a&#{'9' * 6000};b").startswith("a")


@given(st.text(alphabet="<>/!-abps tyle&#;\n\"'"))
def test_nothing_raises(markup):
    assert isinstance(text_of(markup), str)


@pytest.mark.parametrize("piece", ["<", "<!--", "<style>", "<p ", "</", "<a b='", "&#", "<!", "<br>"])
def test_a_million_bytes_of_what_never_ends_come_to_an_end(piece):
    assert len(text_of(piece * (1_000_000 // len(piece)))) <= 1_000_000
