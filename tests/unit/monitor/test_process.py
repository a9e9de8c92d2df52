import dataclasses

import pytest

from nta_milter.config.model import PolicySettings, Settings, SmimeSettings
from nta_milter.monitor.process import files_fingerprint, fingerprint


@pytest.fixture
def settings(tmp_path):
    for name in ("keys", "certificates", "trust/intermediates"):
        (tmp_path / name).mkdir(parents=True)
    smime = SmimeSettings(
        keys=tmp_path / "keys", certificates=tmp_path / "certificates", trust=tmp_path / "trust"
    )
    (tmp_path / "words").write_text("diagnose")
    return Settings(policy=PolicySettings(mode="always", word_files=(tmp_path / "words",)), smime=smime)


def test_equal_settings_have_one_fingerprint_and_others_another(settings):
    assert fingerprint(dataclasses.replace(settings)) == fingerprint(settings)
    assert fingerprint(dataclasses.replace(settings, mode="shadow")) != fingerprint(settings)


@pytest.mark.parametrize("name", ["keys/a.p12", "certificates/a.pem", "trust/intermediates/a.pem", "words"])
def test_a_file_that_is_new_changed_or_gone_is_seen(settings, tmp_path, name):
    seen = [files_fingerprint(settings)]
    file = tmp_path / name
    for content in ("new", "changed"):
        file.write_text(content)
        seen.append(files_fingerprint(settings))
    assert files_fingerprint(settings) == seen[-1]
    file.unlink()
    seen.append(files_fingerprint(settings))
    assert len(set(seen)) == len(seen) - (name != "words")  # without it, all is as it was at first


def test_what_is_not_there_is_no_fault(settings, tmp_path):
    (tmp_path / "keys").rmdir()
    (tmp_path / "trust" / "a.pem").symlink_to(tmp_path / "nowhere")
    assert files_fingerprint(settings) == files_fingerprint(settings)
