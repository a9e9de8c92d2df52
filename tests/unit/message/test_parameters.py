import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.message.parameters import PARAMETER_LIMIT, structured


@pytest.mark.parametrize(
    ("raw", "value", "parameters"),
    [
        (b"text/plain", "text/plain", {}),
        (b"Text/PLAIN; Charset=UTF-8", "text/plain", {"charset": "UTF-8"}),
        (b"text/plain; charset=us-ascii (Plain text)", "text/plain", {"charset": "us-ascii"}),
        (b'text/plain (note) ;charset = "x y" ; a=b', "text/plain", {"charset": "x y", "a": "b"}),
        (b'a/b; name="one; \\"two\\""', "a/b", {"name": 'one; "two"'}),
        (b'a/b; name="never ends; x=y', "a/b", {"name": "never ends; x=y"}),
        (b"attachment; filename=my report (1).docx", "attachment", {"filename": "my report (1).docx"}),
        (b"attachment; filename==?utf-8?q?caf=C3=A9.pdf?=", "attachment", {"filename": "café.pdf"}),
        (b"attachment; filename*=UTF-8''caf%C3%A9.pdf", "attachment", {"filename": "café.pdf"}),
        (b"a/b; x*0*=iso-8859-1'nl'caf%E9; x*1=\" y\"; x*2*=%20z", "a/b", {"x": "café y z"}),
        (b"a/b; x*1=b; x*0=a; x*3=d", "a/b", {"x": "ab"}),
        (b"a/b; filename=old; filename*=utf-8''new", "a/b", {"filename": "new"}),
        (b"a/b; name=caf\xe9\x00", "a/b", {"name": "café\x00"}),
        (b"", "", {}),
        (b";;;", "", {}),
    ],
)
def test_values_and_parameters(raw: bytes, value: str, parameters: dict[str, str]) -> None:
    found = structured(raw)
    assert found.value == value
    assert dict(found.parameters) == parameters
    assert not found.ambiguous


def test_boundaries_stay_bytes() -> None:
    assert structured(b'multipart/mixed; boundary="=_\xe9?:x"').boundary == b"=_\xe9?:x"
    assert structured(b"multipart/mixed; boundary*0=ab; boundary*1=cd").boundary == b"abcd"


def test_a_parameter_twice_is_ambiguous_only_when_it_differs() -> None:
    assert structured(b"a/b; x=1; x=2").ambiguous
    assert not structured(b"a/b; x=1; x=1").ambiguous
    assert structured(b"a/b" + b"".join(b"; p%d=x" % n for n in range(PARAMETER_LIMIT + 1))).ambiguous


@given(st.binary() | st.from_regex(rb"[a-z/]{0,4}(; ?[a-z]{1,2}(\*[0-9]?\*?)?=[\"\\a'%;(]{0,6}){0,5}"))
def test_never_fails(raw: bytes) -> None:
    found = structured(raw)
    assert all(isinstance(text, str) for text in found.parameters.values())
