import dataclasses
import email
import email.policy
import re
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from nta_milter.config.model import NotificationSettings
from nta_milter.outbox import compose
from nta_milter.outbox.compose import Composer, Identity, languages
from nta_milter.store.keys import Token
from nta_milter.store.rows import Delivery, DeliveryState, Form
from tests.unit.outbox.conftest import AT

MAIL = Identity("e" * 32, AT)
ALLOWED = {
    "From",
    "To",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Type",
}


def delivery(**changes) -> Delivery:
    made = Delivery(
        id="a" * 32,
        message_id="b" * 32,
        blob_id="c" * 32,
        size=5,
        recipient="jan@citizen.test",
        arguments=(),
        route="portal",
        next_hop="",
        reasons=("domain is not compliant",),
        state=DeliveryState.SENT,
        created_at=AT,
        expires_at=AT + timedelta(days=30),
        opened_at=None,
        read_at=None,
        downloads=0,
        sender="doctor@care.test",
        author="doctor@care.test",
        message_arguments=(),
        language="nl",
        reply_to=None,
    )
    return dataclasses.replace(made, **changes)


@pytest.fixture
def composer(settings):
    return Composer(settings)


def read(entity):
    return email.message_from_bytes(bytes(entity), policy=email.policy.default)


def texts(entity) -> list[str]:
    return [part.get_content() for part in read(entity).walk() if part.get_content_maintype() == "text"]


def test_languages_say_the_same_things():
    assert languages() == ("en", "nl")
    tables = {}
    for language in languages():
        file = Path(compose.__file__).parent / "texts" / f"{language}.toml"
        table = tomllib.loads(file.read_text("utf-8"))
        tables[language] = {
            name: {key: re.findall(r"\{(\w+)\}", str(text)) for key, text in values.items()}
            if isinstance(values, dict)
            else re.findall(r"\{(\w+)\}", str(values))
            for name, values in table.items()
        }
    for name in tables["nl"]:
        nl, en = tables["nl"][name], tables["en"][name]
        if isinstance(nl, dict):
            assert {key: sorted(set(words)) for key, words in nl.items()} == {
                key: sorted(set(words)) for key, words in en.items()
            }, name
        else:
            assert sorted(nl) == sorted(en), name


@pytest.mark.parametrize("language", ["nl", "en", "xx"])
@pytest.mark.parametrize("form", [Form.NOTIFICATION, Form.REMINDER])
def test_a_notification_has_the_link_and_the_last_day_and_no_more_fields_than_allowed(
    composer, language, form
):
    token = Token.new()
    made = composer.notification(delivery(language=language), token, MAIL, form)
    mail = read(made)
    assert {name for name, _ in mail.items()} <= ALLOWED
    assert (mail["From"], mail["To"]) == ("doctor@care.test", "jan@citizen.test")
    assert mail["Reply-To"] == f"beveiligd+{'a' * 32}@care.test"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"] == f"<{'e' * 32}@care.test>"
    assert mail.get_content_type() == "multipart/alternative"
    plain, html = texts(made)
    url = f"https://veilig.care.test/m/{token.text}"
    assert url in plain.splitlines()
    assert html.count(url) == 3
    for text in (plain, html):
        assert ("24 december 2026" if language == "nl" else "24 December 2026") in text
    assert "<img" not in html
    assert "<script" not in html
    assert not mail.defects


def test_the_texts_and_the_page_say_the_same(composer):
    plain, html = texts(composer.notification(delivery(), Token.new(), MAIL))
    words = set(re.findall(r"\w{4,}", re.sub(r"<style.*?</style>|<[^>]+>", " ", html)))
    assert words - set(re.findall(r"\w{4,}", plain)) == set()


def test_the_organisation_sender_and_way_to_check_are_those_of_the_settings(settings):
    own = NotificationSettings(
        organisation="Zorggroep <Café>",
        sender="veilig@care.test",
        domain="mail.care.test",
        genuine="https://care.test/veilig",
    )
    made = Composer(dataclasses.replace(settings, notification=own)).notification(
        delivery(), Token.new(), MAIL
    )
    mail = read(made)
    assert mail["From"] == "veilig@care.test"
    assert mail["Subject"] == "Beveiligd bericht van Zorggroep <Café>"
    assert mail["Reply-To"].endswith("@mail.care.test")
    plain, html = texts(made)
    assert "Zorggroep <Café>" in plain
    assert "Zorggroep &lt;Café&gt;" in html
    assert "https://care.test/veilig" in plain


def test_a_notification_is_never_sent_in_the_name_of_somebody_outside(composer):
    made = composer.notification(delivery(author="jan@citizen.test"), Token.new(), MAIL)
    assert read(made)["From"] == "postmaster@care.test"


@pytest.mark.parametrize("language", ["nl", "en"])
@pytest.mark.parametrize("page", ["hold", "unlock"])
def test_the_request_to_the_sender_names_the_recipient_and_the_page(composer, page, language):
    token = Token.new()
    write = {"hold": composer.hold, "unlock": composer.locked}[page]
    made = write(delivery(language=language), token, MAIL)
    assert (read(made)["From"], read(made)["To"]) == ("postmaster@care.test", "doctor@care.test")
    for text in texts(made):
        assert "jan@citizen.test" in text
        assert f"https://veilig.care.test/{page}/{token.text}" in text


def test_who_answers_in_clear_is_asked_to_answer_on_the_page(composer):
    made = composer.answer(delivery(), MAIL)
    assert read(made)["To"] == "jan@citizen.test"
    assert "https://" not in texts(made)[0]


@pytest.mark.parametrize(
    ("status", "action", "subject"),
    [
        ("5.1.1", "failed", "Niet bezorgd"),
        ("5.7.1", "failed", "Niet verstuurd"),
        ("4.4.7", "failed", "Verlopen"),
        ("2.0.0", "relayed", "Verstuurd"),
        ("nonsense\r\nX: y", "failed", "Niet bezorgd"),
    ],
)
def test_invariant_13_a_report_has_a_status_and_no_third_part(composer, status, action, subject):
    mail = read(composer.report(delivery(), status, "", MAIL))
    assert mail["Subject"].startswith(subject)
    assert mail.get_content_type() == "multipart/report"
    assert mail.get_param("report-type") == "delivery-status"
    first, second = mail.iter_parts()
    assert (first.get_content_type(), second.get_content_type()) == (
        "text/plain",
        "message/delivery-status",
    )
    about_message, about_recipient = second.get_payload()
    assert about_message["Reporting-MTA"] == "dns; care.test"
    assert about_recipient["Final-Recipient"] == "rfc822; jan@citizen.test"
    assert about_recipient["Action"] == action
    assert about_recipient["Status"] == (status if re.fullmatch(r"[\d.]+", status) else "5.0.0")
    assert not about_recipient["X"]


@pytest.mark.parametrize(
    ("language", "status", "words"),
    [
        ("nl", "4.7.5", "kan niet bewijzen dat de verbinding met hem veilig is"),
        ("en", "4.7.5", "cannot prove that the connection to it is secure"),
        ("nl", "4.4.1", "is niet bereikbaar"),
        ("en", "4.4.1", "cannot be reached"),
    ],
)
def test_a_report_of_delay_says_why_and_that_it_is_tried_again(composer, language, status, words):
    made = composer.report(delivery(language=language), status, "", MAIL)
    text = " ".join(texts(made)[0].split())
    assert words in text
    assert ("Wij blijven het proberen" if language == "nl" else "We keep trying") in text
    assert b"\r\nAction: delayed\r\n" in bytes(made)


def test_a_report_gives_the_clients_own_recipient_back_and_takes_other_letters(composer):
    made = composer.report(
        delivery(recipient="jän@citizen.test", arguments=("ORCPT=utf-8;j+C3+A4n@citizen.test",)),
        "5.1.1",
        "",
        MAIL,
    )
    text = bytes(made).decode()
    assert "Content-Type: message/global-delivery-status" in text
    assert "Final-Recipient: utf-8; jän@citizen.test\r\n" in text
    assert "Original-Recipient: utf-8;j+C3+A4n@citizen.test\r\n" in text


def test_a_report_says_whether_an_expired_message_was_opened(composer):
    closed = texts(composer.report(delivery(language="en"), "4.4.7", "", MAIL))[0]
    opened = texts(composer.report(delivery(language="en", opened_at=AT), "4.4.7", "", MAIL))[0]
    assert "It was not opened." in closed
    assert "It was opened." in opened


HOSTILE = st.text() | st.text(alphabet='\r\n\0 <>"{}@:;,\\=?\u2028').map(lambda text: f"x{text}@y")


@given(HOSTILE, HOSTILE, HOSTILE)
@profile(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_address_or_reason_adds_a_field_or_a_line(composer, author, recipient, detail):
    made = delivery(author=author, recipient=recipient, sender=author, arguments=(f"ORCPT={detail}",))
    for entity, parts in (
        (composer.notification(made, Token.new(), MAIL), 2),
        (composer.hold(made, Token.new(), MAIL), 2),
        (composer.report(made, "5.7.1", detail, MAIL), 2),
    ):
        assert {field.name.decode() for field in entity.headers} <= ALLOWED
        assert len(entity.headers) <= len(ALLOWED)
        boundary = re.search(rb'boundary="(.+?)"', bytes(entity.headers))[1]
        assert entity.body.count(b"--" + boundary) == parts + 1
        assert b"\n" not in bytes(entity).replace(b"\r\n", b"")
        assert b"\r" not in bytes(entity).replace(b"\r\n", b"")
