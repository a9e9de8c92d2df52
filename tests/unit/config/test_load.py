import dataclasses
import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nta_milter.config import describe
from nta_milter.config.load import ENVIRONMENT, Loaded, load
from nta_milter.config.model import Settings
from nta_milter.config.source import dotted, read
from nta_milter.errors import ConfigurationError

LEAST = '[policy]\nmode = "content"\n'
STORE = '[store]\nurl = "sqlite:////x"\n'


@pytest.fixture
def write(tmp_path):
    def write(text: str | bytes, name: str = "nta-milter.toml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    return caught.value.diagnostics().replace(f"{path.parent}/", "").split("\n")


def test_the_shortest_configuration_names_a_mode_and_has_the_defaults(write):
    loaded = load(write(LEAST))
    assert loaded.settings.policy.mode == "content"
    assert loaded.settings.milter.threads == 8
    assert [listener.side for listener in loaded.settings.listeners] == ["outbound", "inbound", "ntamx"]
    assert dict(loaded.origin) == {"policy.mode": f"{loaded.files[0]}:2"}


def test_a_configuration_without_a_mode_is_refused_with_the_choices(write):
    (problem,) = problems(write("# empty\n"))
    assert problem.startswith('nta-milter.toml: policy.mode is missing: one of "always", "content", "marked"')


def test_all_mistakes_of_a_file_are_named_at_once_with_their_lines(write):
    text = """mode = "enforced"
[milter]
threads = "8"
timeout = 5
[policy]
mod = "always"
bsn = 1
[dns]
sevrers = []
port = 53
threads = 1
[[rules]]
name = "a"
rout = "smime"
[[rules]]
name = "b"
sensitive = "maybe"
"""
    found = problems(write(text))
    assert found[:-1] == [
        'nta-milter.toml:1: mode: "enforced" is not allowed, only one of "enforce", "shadow"; '
        'did you mean "enforce"?',
        "nta-milter.toml:3: milter.threads: text cannot stand here; a whole number is needed",
        "nta-milter.toml:4: milter.timeout: 5 is out of range; a whole number from 10 to 86_400 s is needed",
        "nta-milter.toml:6: policy.mod: unknown key; did you mean mode?",
        "nta-milter.toml:7: policy.bsn: a whole number cannot stand here; true or false is needed",
        "nta-milter.toml:9: dns.sevrers: unknown key; did you mean servers?",
        f"nta-milter.toml:10: dns.port: unknown key; [dns] may have: {names_of('dns')}",
        "nta-milter.toml:11: dns.threads: unknown key here; it belongs in [milter]",
        "nta-milter.toml:14: rules[0].rout: unknown key; did you mean route?",
        'nta-milter.toml:17: rules[1].sensitive: "maybe" is not allowed, only one of "yes", "no", ""',
    ]
    assert found[-1].startswith("nta-milter.toml: policy.mode is missing")


def names_of(table: str) -> str:
    (keys,) = (found.keys for found in describe.tables() if found.name == table)
    return ", ".join(key.name for key in keys)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("policy = 3", "c.toml:1: policy: a whole number cannot stand here; [policy] is a table"),
        ("[rules]", "c.toml:1: rules: a table cannot stand here; begin each entry with [[rules]]"),
        (
            "rules = [1]",
            "c.toml:1: rules: an array cannot stand here; begin each entry with [[rules]]",
        ),
        (
            "[smime]\nkeys = 'keys'",
            'c.toml:2: smime.keys: "keys" is not an absolute path',
        ),
        (
            "[internal]\n[internal.delegates]\nx = [1]",
            "c.toml:3: internal.delegates.x: a whole number cannot stand here; text is needed",
        ),
        (
            "[internal]\ndelegates = 1",
            "c.toml:2: internal.delegates: a whole number cannot stand here; "
            "a table, each value: an array, each element: text",
        ),
        (
            "[dns]\ntrusted = [\n '10.0.0.1/8']",
            "c.toml:2: dns.trusted: 10.0.0.1/8 has host bits set; a network such as 192.0.2.0/24 is needed",
        ),
        (
            "[dns]\ntimeout = nan",
            "c.toml:2: dns.timeout: nan is not a finite number",
        ),
        (
            "[dns]\ntimeout = 2020-01-01",
            "c.toml:2: dns.timeout: a date or time cannot stand here; a number is needed",
        ),
        (
            '[nta_header]\nvalue = "a\\nBcc: b"',
            'c.toml:2: nta_header.value: "a\\nBcc: b" holds a control character',
        ),
        ("[dns]\nttl_cap = 0x" + "f" * 6000, "c.toml:2: dns.ttl_cap: the number is too large"),
        ("[dns\n", "c.toml:1: is not TOML: Expected ']' at the end of a table declaration, column 5"),
        ("a = 1\na = 2", "c.toml:2: is not TOML: Cannot overwrite a value"),
        (
            "mode = shadow",
            'c.toml:1: is not TOML: Invalid value, column 8; a text stands in quotes: "shadow"',
        ),
        ("a = [ /x/y, 1]", 'c.toml:1: is not TOML: Invalid value, column 7; a text stands in quotes: "/x/y"'),
        (
            "[internal]\ndomains = 'care.test'",
            (
                "[internal]\ndomains = 'care.test'",
                "c.toml:2: internal.domains: text cannot stand here; an array, each element: text; "
                'write ["care.test"]',
            ),
        ),
        (b"a = '\xe9'", "c.toml:1: is not UTF-8: byte 0xe9"),
        (b"\n" + LEAST.encode("utf-16")[2:], "c.toml:2: is not TOML: "),
        (b"\xef\xbb\xbfa = 1", "c.toml:1: begins with a byte order mark; save it as UTF-8 without one"),
        ("a = " + "[" * 100_000, "c.toml: is nested too deep"),
        ("#" * 1_048_577, "c.toml: is longer than 1048576 bytes"),
    ],
)
def test_each_kind_of_mistake_is_said_in_its_own_words(write, text, problem):
    found = problems(write(text, "c.toml"))
    assert found[0].startswith(problem)
    assert len(found) <= 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[milter]\nsocket = '/run/x'", ":4: milter.socket: must be unix:/PATH or inet:PORT@ADDRESS"),
        ("[milter]\nsocket = 'inet:70000@::1'", ":4: milter.socket: must be unix:/PATH or inet:"),
        (f"[milter]\nsocket = 'unix:/{'x' * 107}'", ":4: milter.socket: the path of a unix socket has at"),
        ("[milter]\nhostname = 'a b'", ":4: milter.hostname: a b is not a host name"),
        ("[[listeners]]\nside = 'ntamx'\n[[listeners]]\nside = 'ntamx'", ":6: listeners[1].side: ntamx is"),
        (
            "[[listeners]]\nside = 'connector'\norganisations = ['a.test']",
            ": listeners[0].tls_names: must name the provider's",
        ),
        (
            "[[listeners]]\nside = 'connector'\ntls_names = ['a.test']",
            ": listeners[0].organisations: must not be empty",
        ),
        ("[internal]\ndomains = ['Care.test']", ":4: internal.domains: Care.test is not a domain in lower"),
        ("[internal.delegates]\na = ['b']", ":4: internal.delegates.a: b is neither an address nor @domain"),
        ("[dns]\nservers = ['localhost']", ":4: dns.servers: localhost is not an ADDRESS"),
        ("[dns]\nservers = ['127.0.0.1:0']", ":4: dns.servers: 127.0.0.1:0 is not an ADDRESS"),
        ("[dns]\nservers = []", ":4: dns.servers: must not be empty"),
        ("[dns]\nservers = ['192.0.2.1']", ": dns.trusted: holds none of dns.servers"),
        ("[dns]\ntimeout = 5", ": dns.lifetime: must be at least dns.timeout (5.0 s)"),
        ("[dns]\nlifetime = 15", ": dns.deadline: must be at least dns.lifetime (15.0 s)"),
        ("[milter]\ntimeout = 10", ": dns.deadline: must be less than milter.timeout (10 s)"),
        ("[policy.x]", ":3: policy.x: unknown key"),
        ("[[rules]]\nname = ''", ":4: rules[0].name: must not be empty"),
        ("[[rules]]\nname = 'a'\n[[rules]]\nname = 'a'", ":6: rules[1].name: a is the name of an earlier"),
        ("[[rules]]\nname = 'a'\nsender = 'x'", ":5: rules[0].sender: x is neither an address nor @domain"),
        ("[[rules]]\nname = 'a'\nsensitive = 'no'\nroute = 'smime'", ":6: rules[0].route: has no meaning"),
        ("[smime.bindings]\n'../a.p12' = ['@a']", ':4: smime.bindings."../a.p12": must be the name of a'),
        ("[nta_header]\nname = 'X Y'\nvalue = 'a'", ":4: nta_header.name: X Y is not the name of a header"),
        ("[nta_header]\nname = 'X-Y'\nvalue = 'é'", ":5: nta_header.value: may hold printable ASCII only"),
        ("[nta_header]\nname = 'X-Y'", ": nta_header.value: must be given"),
        ("[portal]\nsocket = '/run/x'", ":4: portal.socket: must be unix:/PATH or inet:PORT@127.0.0.1"),
        ("[portal]\nsocket = 'inet:443@192.0.2.1'", ":4: portal.socket: must be unix:/PATH or inet:"),
        ("[portal]\nsocket = 'inet:0@[::1]'", ":4: portal.socket: must be unix:/PATH or inet:"),
        (f"[portal]\nsocket = 'unix:/{'x' * 107}'", ":4: portal.socket: the path of a unix socket has at"),
        ("[portal]\ntimezone = 'Here/There'", ":4: portal.timezone: Here/There is not a time zone"),
        ("[portal]\ntimezone = '../zone'", ":4: portal.timezone: ../zone is not a time zone"),
        (f"{STORE}[portal]\nurl = 'https://a.test/'", ":6: portal.url: https://a.test/ is not https://NAME"),
        (
            f"{STORE}[portal]\nurl = 'https://a.test/b'",
            ":6: portal.url: https://a.test/b is not https://NAME",
        ),
        (f"{STORE}[portal]\nurl = 'http://a.test'", ":6: portal.url: http://a.test is not https://NAME"),
        ("[portal]\nurl = 'https://a.test'", ":4: portal.url: needs a store: give store.url"),
        ("[audit]\nretention = 400", ':4: audit.retention: is for audit.target = "store"'),
        ("[nta_header]\nname = 'X-Nta-Route'\nvalue = '1'", ":4: nta_header.name: X-Nta-Route has a meaning"),
    ],
)
def test_what_cannot_be_combined_is_refused_where_it_stands(write, text, problem):
    path = write(f"{LEAST}{text}\n")
    assert [line[: len(f"nta-milter.toml{problem}")] for line in problems(path)] == [
        f"nta-milter.toml{problem}"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "mode = 'marked'\nsubject_tags = []\nmark_header = ''",
            "2: policy.mode: is marked, and there is no",
        ),
        (
            "mode = 'always'\nmark_header = 'Content-Type'",
            "3: policy.mark_header: Content-Type has a meaning",
        ),
        ("mode = 'always'\nsubject_tags = [' ']", "3: policy.subject_tags: holds an empty tag"),
        ("mode = 'always'\nwords = ['']", "3: policy.words: holds an empty word"),
        ("mode = 'always'\npatient_number = '('", "3: policy.patient_number: is not a regular expression"),
        ("mode = 'always'\npatient_number = 'a*'", "3: policy.patient_number: matches an empty text"),
    ],
)
def test_a_policy_that_cannot_work_is_refused(write, text, problem):
    (found,) = problems(write(f"[policy]\n{text}\n"))
    assert found.startswith(f"nta-milter.toml:{problem}")


def test_drop_ins_are_joined_in_the_order_of_their_names(write):
    main = write(f"{LEAST}[milter]\nthreads = 2\n[[rules]]\nname = 'a'\n")
    later = write("[milter]\nthreads = 4\n[[rules]]\nname = 'c'\n", "conf.d/20.toml")
    first = write("[milter]\nthreads = 3\nlookup_threads = 5\n[[rules]]\nname = 'b'\n", "conf.d/10.toml")
    write("nonsense", "conf.d/.hidden.toml")
    write("nonsense", "conf.d/10.toml~")
    loaded = load(main)
    assert loaded.files == (main, first, later)
    assert loaded.settings.milter.threads == 4
    assert loaded.settings.milter.lookup_threads == 5
    assert [rule.name for rule in loaded.settings.rules] == ["a", "b", "c"]
    assert dict(loaded.origin) == {
        "policy.mode": f"{main}:2",
        "milter.threads": f"{later}:2",
        "milter.lookup_threads": f"{first}:3",
        "rules[0].name": f"{main}:6",
        "rules[1].name": f"{first}:5",
        "rules[2].name": f"{later}:4",
    }


def test_a_mistake_in_a_drop_in_is_named_with_its_file_even_if_a_later_one_replaces_it(write):
    main = write("[milter]\nthreads = 0\n")
    write(LEAST + "[milter]\nthreads = 4\n", "conf.d/10.toml")
    write("[[[", "conf.d/20.toml")
    assert [line.partition(": ")[0] for line in problems(main)] == [
        "nta-milter.toml:2",
        "conf.d/20.toml:1",
    ]


def test_the_file_is_the_argument_then_the_environment(write, monkeypatch):
    by_argument, by_environment = write(LEAST, "a.toml"), write(LEAST, "b.toml")
    monkeypatch.setenv(ENVIRONMENT, str(by_environment))
    assert load(by_argument).files == (by_argument,)
    assert load(None).files == (by_environment,)


def test_what_is_not_a_readable_file_is_said_so(tmp_path, write):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    assert problems(tmp_path / "folder") == ["folder: is not a regular file"]
    assert problems(tmp_path / "fifo") == ["fifo: is not a regular file"]
    assert problems(tmp_path / "absent") == ["absent: cannot be read: No such file or directory"]
    assert problems(tmp_path / "loop")[0] == "loop: cannot be read: Too many levels of symbolic links"
    with pytest.raises(ConfigurationError, match="embedded null"):
        load(tmp_path / "a\0b")


def test_settings_cannot_be_changed(write):
    loaded = load(write(LEAST))
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.settings.mode = "shadow"
    with pytest.raises(TypeError):
        loaded.origin["mode"] = "x"


def test_every_default_keeps_the_range_and_the_rules_that_the_loader_holds_others_to(write):
    text = ""
    for table in describe.tables():
        if not table.array:
            text += f"{table.heading}\n" if table.name else ""
            for key in table.keys:
                if not key.required and key.default is not None:
                    text += f"{key.name} = {describe.toml(key.default)}\n"
                elif key.name == "mode":
                    text += 'mode = "content"\n'
    assert load(write(text)).settings == load(write(LEAST)).settings


keys = st.sampled_from(
    ["mode", "policy", "dns", "rules", "listeners", "name", "side", "smime", "bindings", "timeout", "x y", ""]
)
scalars = st.one_of(
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.dates(),
    st.sampled_from(["content", "outbound", "*", "a"]),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)
)
documents = st.dictionaries(keys, values, max_size=5)


def as_toml(value: object) -> str:
    if isinstance(value, list):
        return "[" + ",\n ".join(as_toml(element) for element in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{describe.toml(k)} = {as_toml(v)}" for k, v in value.items()) + "}"
    return describe.toml(value) if isinstance(value, str | bool | int | float) else str(value)


@settings(max_examples=200, deadline=None)
@given(documents)
def test_any_toml_is_loaded_or_refused_by_a_configuration_error(tmp_path_factory, document):
    path = tmp_path_factory.mktemp("toml") / "c.toml"
    statements = [f"{describe.toml(name)} = {as_toml(value)}" for name, value in document.items()]
    path.write_text("\n# a comment\n\n".join(statements), newline="")
    try:
        assert isinstance(load(path), Loaded)
    except ConfigurationError as error:
        assert str(path) in error.diagnostics()  # noqa: PT017


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
@example(b"[policy]\nmode='always'\n[policy.")
@example(b'a="""')
@example(b"\x00")
def test_any_bytes_are_loaded_or_refused_by_a_configuration_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("bytes") / "c.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError):
        load(path)


@settings(max_examples=200, deadline=None)
@given(documents, st.sampled_from(["\n", "\r\n"]))
def test_every_key_has_the_line_on_which_its_statement_begins(tmp_path_factory, document, line_end):
    path = tmp_path_factory.mktemp("lines") / "c.toml"
    text, expected = "", {}
    for name, value in document.items():
        expected[(name,)] = text.count("\n") + 1
        text += f"{describe.toml(name)} = {as_toml(value)} # '\"[{{\n\n"
    path.write_text(text, newline=line_end)
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # a surrogate or a year that TOML does not write
    lines = read(path).lines
    assert {place: lines[place] for place in expected} == expected


def test_lines_are_found_behind_every_form_of_text(write):
    text = (
        'a = """\n[x\n""\\""""""\n'
        "b = '''\n'[''''\n"
        'c = ["#[", \'"\', # ]\n  1,\n]\r\n'
        '"d#" = "\\"]"\n'
        "e.f = {g = [{h = 1}]}\n"
        "[[i]]\n[i.j]\nk = 1\n[[i]]\n[[i.j]]\nk = 1\n[[i.j]]\nk = 2\n[ l . 'm' ]\nn = 1\n"
    )
    lines = {dotted(place): line for place, line in read(write(text)).lines.items()}
    assert lines == {
        "a": 1,
        "b": 4,
        "c": 6,
        '"d#"': 9,
        "e": 10,
        "e.f": 10,
        "e.f.g": 10,
        "e.f.g[0]": 10,
        "e.f.g[0].h": 10,
        "i[0]": 11,
        "i[0].j": 12,
        "i[0].j.k": 13,
        "i[1]": 14,
        "i[1].j[0]": 15,
        "i[1].j[0].k": 16,
        "i[1].j[1]": 17,
        "i[1].j[1].k": 18,
        "l.m": 19,
        "l.m.n": 20,
    }


def test_the_description_names_every_field_of_the_model():
    described = {table.name for table in describe.tables() if table.name}
    described |= {key.name for table in describe.tables() if not table.name for key in table.keys}
    assert described == {field.name for field in dataclasses.fields(Settings)}
    assert all(key.text for table in describe.tables() for key in table.keys)
