import os
from dataclasses import replace

import pytest

from nta_milter.config.model import PolicySettings, SecretSettings, Settings
from nta_milter.config.secrets import CREDENTIALS, secret
from nta_milter.errors import KeyStoreError

NAME = "keys-password"


@pytest.fixture
def settings(monkeypatch):
    monkeypatch.delenv(CREDENTIALS, raising=False)
    return Settings(policy=PolicySettings(mode="always"))


@pytest.fixture
def write(tmp_path):
    def write(content: bytes, name: str = "file", mode: int = 0o640):
        path = tmp_path / name
        path.write_bytes(content)
        path.chmod(mode)
        return path

    return write


def with_file(settings, path):
    return replace(settings, secrets=SecretSettings(keys_password=path))


def test_without_a_file_or_credential_there_is_no_secret(settings):
    assert secret(NAME, settings) is None


def test_a_secret_that_no_key_names_comes_from_a_credential_only(settings, tmp_path, write, monkeypatch):
    assert secret("worker-key", settings) is None
    write(b"w", "worker-key", 0o400)
    monkeypatch.setenv(CREDENTIALS, str(tmp_path))
    assert secret("worker-key", settings) == b"w"


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"s3", b"s3"), (b"s3\n", b"s3"), (b"s3\r\n", b"s3"), (b"s3\n\n", b"s3\n"), (b" \xff ", b" \xff ")],
)
def test_one_final_line_end_is_not_part_of_the_secret(settings, write, content, expected):
    assert secret(NAME, with_file(settings, write(content))) == expected


def test_the_credential_comes_before_the_file(settings, write, tmp_path, monkeypatch):
    configured = with_file(settings, write(b"from the file"))
    monkeypatch.setenv(CREDENTIALS, str(tmp_path))
    assert secret(NAME, configured) == b"from the file"
    write(b"from systemd", NAME, 0o440)
    assert secret(NAME, configured) == b"from systemd"


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o641])
def test_a_file_open_to_everybody_is_refused(settings, write, mode):
    path = write(b"x", mode=mode)
    with pytest.raises(KeyStoreError, match=rf"{path}: may be used by everybody \(mode {mode:04o}\); chmod"):
        secret(NAME, with_file(settings, path))


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is empty"), (b"\n", "is empty"), (b"x" * 65_537, "is longer than 65536")],
    ids=["empty", "line end", "long"],
)
def test_a_file_without_a_usable_secret_is_refused(settings, write, content, words):
    with pytest.raises(KeyStoreError, match=words):
        secret(NAME, with_file(settings, write(content)))


def test_what_is_not_a_file_is_refused_without_waiting(settings, tmp_path):
    os.mkfifo(tmp_path / "fifo", 0o600)
    for name, words in (
        ("absent", "No such file"),
        ("fifo", "is not a regular file"),
        ("", "Is a directory"),
    ):
        with pytest.raises(KeyStoreError, match=words):
            secret(NAME, with_file(settings, tmp_path / name))
