import io
import json
import sys

import pytest
from cryptography.hazmat.primitives import serialization

from nta_milter.cli.main import main
from nta_milter.message.model import Entity
from tests.unit.smime.messages import content, mail, parse
from tests.unit.smime.persons import authority, person

AT = "2026-11-24T12:00:00Z"


@pytest.fixture
def folder(tmp_path):
    for kind in ("rsa", "p256"):
        one = person(kind)
        key = one.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        tmp_path.joinpath(f"{kind}.pem").write_bytes(key + one.certificate.pem())
        tmp_path.joinpath(f"{kind}.crt").write_bytes(one.certificate.pem())
    root = authority()[1].public_bytes(serialization.Encoding.PEM)
    tmp_path.joinpath("trust.pem").write_bytes(root)
    return tmp_path


@pytest.fixture
def run(monkeypatch, capfdbinary):
    def call(data, *arguments):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(bytes(data))))
        status = main(["smime", *map(str, arguments)])
        out, err = capfdbinary.readouterr()
        return status, out, err.decode()

    return call


def test_a_message_goes_through_encrypt_and_decrypt(run, folder):
    for more in ((), ("--cipher", "aes-256-gcm", "--key-transport", "oaep", "--identify-by", "key")):
        status, out, err = run(
            mail(), "encrypt", "--to", folder / "rsa.crt", "--to", folder / "p256.crt", *more
        )
        assert (status, err) == (0, "")
        assert b"patient" not in out.lower()
        for kind in ("rsa", "p256"):
            status, opened, err = run(out, "decrypt", "--keys", folder / f"{kind}.pem", "--report", "-")
            assert status == 0
            assert bytes(content(parse(opened))) == bytes(content(mail()))
            assert json.loads(err)["layers"][0]["recipient"] == f"{kind}@care.test"
            assert parse(opened).headers.first("Subject") == mail().headers.first("Subject")


def test_lines_that_end_with_lf_alone_are_read(run, folder):
    data = bytes(mail()).replace(b"\r\n", b"\n")
    status, out, _ = run(data, "sign", "--key", folder / "rsa.pem", "--at", AT)
    assert status == 0
    status, _, err = run(
        out.replace(b"\r\n", b"\n"), "verify", "--trust", folder / "trust.pem", "--at", AT, "--report", "-"
    )
    assert status == 0, err


def test_the_subject_is_hidden_and_restored(run, folder):
    _, out, _ = run(mail(), "encrypt", "--to", folder / "p256.crt", "--hide-subject", "--bind-key")
    assert parse(out).headers.first("Subject") == b"[...]"
    assert b"niet voor buiten" not in out
    status, opened, _ = run(out, "decrypt", "--keys", folder / "p256.pem", "--keys", folder / "rsa.pem")
    assert status == 0
    assert parse(opened).headers.first("Subject") == mail().headers.first("Subject")


@pytest.mark.parametrize("more", [(), ("--opaque",), ("--algorithm", "rsassa-pss")])
def test_a_signed_message_is_verified(run, folder, more):
    _, out, _ = run(mail(), "sign", "--key", folder / "rsa.pem", "--at", AT, *more)
    report = folder / "report.json"
    status, opened, _ = run(out, "verify", "--trust", folder / "trust.pem", "--at", AT, "--report", report)
    assert status == 0
    assert json.loads(report.read_text())["layers"][0]["status"] == "good"
    assert parse(opened).headers.first("From") == b"Dokter Zorg <rsa@care.test>"


def test_a_signature_that_is_not_good_is_a_no(run, folder):
    _, out, _ = run(mail("other@care.test"), "sign", "--key", folder / "rsa.pem", "--at", AT)
    arguments = ("verify", "--trust", folder / "trust.pem", "--at", AT, "--report", "-")
    status, opened, err = run(out, *arguments)
    assert (status, json.loads(err)["layers"][0]["from_match"]) == (1, "mismatch")
    assert b"=46rom vandaag" in opened
    status, _, _ = run(out, "decrypt", "--keys", folder / "rsa.pem")
    assert status == 1
    status, opened, err = run(mail(), *arguments)
    assert (status, json.loads(err)) == (1, {"opened": False, "layers": [], "error": None})
    assert opened == bytes(mail())


def test_a_folder_of_keys_opens_by_those_that_can_be_loaded(run, folder, tmp_path):
    _, out, _ = run(mail(), "encrypt", "--to", folder / "p256.crt")
    keys = tmp_path / "several"
    keys.mkdir()
    (keys / "authority.pem").write_bytes((folder / "trust.pem").read_bytes())
    status, _, err = run(out, "decrypt", "--keys", keys)
    assert status == 2
    assert err.endswith(f"nta-milter: {keys}: no key in it can be used\n")
    (keys / "mine.pem").write_bytes((folder / "p256.pem").read_bytes())
    status, opened, err = run(out, "decrypt", "--keys", keys)
    assert (status, err) == (0, f"nta-milter: {keys}/authority.pem: the file holds no private key\n")
    assert parse(opened).body == mail().body


def test_a_key_and_its_certificate_may_be_in_two_files(run, folder, tmp_path):
    _, out, _ = run(mail(), "encrypt", "--to", folder / "p256.crt")
    whole = (folder / "p256.pem").read_bytes()
    start = whole.index(b"-----BEGIN CERTIFICATE-----")
    end = whole.index(b"-----END CERTIFICATE-----") + len(b"-----END CERTIFICATE-----\n")
    keys = tmp_path / "apart"
    keys.mkdir()
    key, certificate = keys / "key.pem", keys / "certificate.pem"
    key.write_bytes(whole[:start] + whole[end:])
    certificate.write_bytes(whole[start:end])
    for paths in ((keys,), (key, certificate), (certificate, key)):
        options = [word for path in paths for word in ("--keys", path)]
        status, opened, err = run(out, "decrypt", *options)
        assert (status, err) == (0, "")
        assert parse(opened).body == mail().body
    status, _, err = run(out, "decrypt", "--keys", key)
    assert (status, err) == (2, f"nta-milter: {key}: a private key has no certificate in the file\n")
    other = folder / "rsa.crt"
    assert run(out, "decrypt", "--keys", key, "--keys", other)[0] == 2


def test_a_message_that_stays_closed_is_given_back(run, folder):
    _, out, _ = run(mail(), "encrypt", "--to", folder / "p256.crt")
    status, opened, err = run(out, "decrypt", "--keys", folder / "rsa.pem")
    assert status == 1
    assert opened == out
    assert err == "nta-milter: aes-256-cbc: no key of ours is among 1 recipients\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("encrypt", "--to", "missing.pem"),
        ("encrypt", "--to", "empty.pem"),
        ("sign", "--key", "missing.p12"),
        ("sign", "--key", "trust.pem"),
        ("sign", "--key", "rsa.pem", "--password-file", "missing"),
        ("decrypt", "--keys", "missing"),
        ("verify", "--trust", "missing"),
        ("verify", "--trust", "trust.pem", "--report", "missing/report.json"),
    ],
    ids=" ".join,
)
def test_a_file_that_is_not_there_is_a_mistake_in_words(run, folder, arguments, monkeypatch):
    monkeypatch.chdir(folder)
    folder.joinpath("empty.pem").write_bytes(b"")
    status, out, err = run(mail(), *arguments)
    assert (status, out) == (2, b"")
    assert err.startswith("nta-milter: ")


def test_a_wrong_option_is_a_usage_error(run, folder):
    for arguments in (("encrypt",), ("encrypt", "--to", "x", "--cipher", "3des-cbc"), ("verify",), ()):
        with pytest.raises(SystemExit) as ended:
            run(mail(), *arguments)
        assert ended.value.code == 2


def test_an_empty_message_is_a_message(run, folder):
    status, out, _ = run(b"", "encrypt", "--to", folder / "p256.crt")
    assert status == 0
    status, opened, _ = run(out, "decrypt", "--keys", folder / "p256.pem")
    assert status == 0
    assert parse(opened) == Entity(parse(opened).headers, b"")
