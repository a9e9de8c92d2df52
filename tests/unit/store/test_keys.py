import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.errors import KeyStoreError, SealError
from nta_milter.store import hpke
from nta_milter.store.keys import (
    PrivateKeys,
    PublicKeys,
    Token,
    key_id,
    new_id,
    new_key_pair,
    new_message_key,
)

MESSAGE = "0" * 32
RECIPIENTS = ["jan@citizen.test", "piet@citizen.test"]


@pytest.fixture
def public(private):
    return PublicKeys(private["portal"].public_key(), private["worker"].public_key())


def test_a_link_opens_with_the_portals_key_alone_and_for_its_message_alone(public, portal, worker):
    key, token = new_message_key(), Token.new()
    sealed = public.for_link(token, key, MESSAGE)
    assert portal.open_link(token, sealed, MESSAGE) == key
    for keys, other, message in (
        (worker, token, MESSAGE),
        (portal, Token.new(), MESSAGE),
        (portal, token, "1" * 32),
    ):
        with pytest.raises(SealError):
            keys.open_link(other, sealed, message)


def test_the_worker_opens_its_wrap_for_its_message_alone(public, portal, worker):
    key = new_message_key()
    sealed = public.for_worker(key, MESSAGE, RECIPIENTS)
    assert worker.open_worker(sealed, MESSAGE, RECIPIENTS) == key
    assert worker.open_worker(sealed, MESSAGE, [*reversed(RECIPIENTS), *RECIPIENTS]) == key
    for keys, message in ((portal, MESSAGE), (worker, "1" * 32)):
        with pytest.raises(SealError):
            keys.open_worker(sealed, message, RECIPIENTS)


@given(st.frozensets(st.text(alphabet="ab@\u00e9", max_size=4), max_size=3))
def test_the_worker_opens_nothing_for_other_recipients(recipients):
    private = X25519PrivateKey.generate()
    sealed = PublicKeys(private.public_key(), private.public_key()).for_worker(bytes(32), MESSAGE, RECIPIENTS)
    with pytest.raises(SealError):
        PrivateKeys([private]).open_worker(sealed, MESSAGE, recipients)


def test_a_wrap_for_one_purpose_is_none_for_another(private):
    both = private["portal"]
    public, keys = PublicKeys(both.public_key(), both.public_key()), PrivateKeys([both])
    with pytest.raises(SealError):
        keys.open_worker(public.for_link(Token.new(), bytes(32), MESSAGE), MESSAGE, ())


@given(st.binary(max_size=200))
def test_any_bytes_as_a_wrap_are_refused(data):
    keys = PrivateKeys([X25519PrivateKey.generate()])
    with pytest.raises(SealError):
        keys.open_worker(bytes.fromhex(keys.key_ids[0]) + data, MESSAGE, ())
    with pytest.raises(SealError):
        keys.open_worker(data, MESSAGE, ())
    with pytest.raises(SealError):
        Token.new().unwrap(data, b"")


@pytest.mark.parametrize("encapsulated", [bytes(32), b"\1" + bytes(31)])
def test_a_key_of_small_order_is_refused(encapsulated):
    with pytest.raises(SealError):
        hpke.unseal(encapsulated + bytes(48), X25519PrivateKey.generate(), b"")


def test_old_private_keys_open_what_was_sealed_to_them(public, private):
    sealed = public.for_worker(bytes(32), MESSAGE, ())
    new, _ = new_key_pair()
    old = private["worker"].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    keys = PrivateKeys.parse(new + old, "worker-key")
    assert keys.key_ids[1] == key_id(private["worker"].public_key())
    assert keys.open_worker(sealed, MESSAGE, ()) == bytes(32)


def test_a_token_is_text_that_is_safe_in_a_url_and_is_read_back():
    for _ in range(200):
        token = Token.new()
        assert len(token.text) == 43
        assert Token.parse(token.text) == token
        assert set(token.text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_neither_the_token_nor_its_wrapping_key_is_what_the_database_knows():
    token = Token.new()
    assert token.secret.hex() not in token.lookup
    assert token.lookup == Token(token.secret).lookup
    assert token.text not in repr(token)


@given(st.text() | st.text(alphabet="AB-_=", min_size=42, max_size=44))
def test_any_text_is_a_token_or_none(text):
    token = Token.parse(text)
    assert token is None or token.text == text


def test_a_token_has_one_text_only():
    text = Token(bytes(32)).text
    assert text == "A" * 43
    assert Token.parse("A" * 42 + "B") is None  # the same bytes for a lenient reader


def test_ids_are_random_hex():
    assert len({new_id() for _ in range(100)}) == 100
    assert len(new_id()) == 32


def ed25519() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize("pem", [b"", b"nothing", b"-----END PRIVATE KEY-----", ed25519()])
def test_a_private_key_that_is_none_is_named(pem):
    with pytest.raises(KeyStoreError, match="worker-key"):
        PrivateKeys.parse(pem, "worker-key")


def test_public_halves_are_read_from_their_folder(tmp_path, private):
    for name in ("portal", "worker"):
        pem = private[name].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / f"{name}.pem").write_bytes(pem)
    found = PublicKeys.load(tmp_path)
    assert key_id(found.worker) == key_id(private["worker"].public_key())
    other = Ed25519PrivateKey.generate().public_key()
    for content in (
        None,
        b"nothing",
        other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    ):
        (tmp_path / "worker.pem").unlink(missing_ok=True)
        if content is not None:
            (tmp_path / "worker.pem").write_bytes(content)
        with pytest.raises(KeyStoreError, match=r"worker\.pem"):
            PublicKeys.load(tmp_path)
