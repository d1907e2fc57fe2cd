"""The inbox's memory, its page and the Twilio-compatible endpoint, without a socket."""

from __future__ import annotations

from collections.abc import Mapping
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest
from werkzeug.test import Client, TestResponse

from devservices.inbox import DEFAULT_ACCOUNT_SID, InboxHandler
from devservices.messages import MAX_BODY_CHARACTERS, Channel, UnsafeInbox
from devservices.serving import LoopbackApplication
from devservices.sms import TwilioMessages
from devservices.smtp import text_of
from foundation.clock import FixedClock

TOKEN = "0123456789abcdef"
PATH = f"/2010-04-01/Accounts/{DEFAULT_ACCOUNT_SID}/Messages.json"
GOOD = {"To": "+32470000001", "From": "+3225550100", "Body": "Your code is 123456"}


@pytest.fixture
def inbox() -> UnsafeInbox:
    return UnsafeInbox()


@pytest.fixture
def client(inbox: UnsafeInbox, clock: FixedClock) -> Client:
    messaging = TwilioMessages(inbox, DEFAULT_ACCOUNT_SID, TOKEN.encode(), clock)
    return Client(LoopbackApplication(InboxHandler(inbox, messaging, "127.0.0.1:8425")))


def send(
    client: Client, form: Mapping[str, str], path: str = PATH, auth: tuple[str, str] = (DEFAULT_ACCOUNT_SID, TOKEN)
) -> TestResponse:
    return client.post(path, data=dict(form), auth=auth)


def keep(inbox: UnsafeInbox, clock: FixedClock, recipient: str, body: str = "hello", subject: str = "") -> None:
    channel = Channel.EMAIL if "@" in recipient else Channel.SMS
    inbox.deliver(channel, recipient, "privyseal@example.org", subject=subject, body=body, received_at=clock.now())


def test_a_text_message_is_taken_and_answered_in_twilios_shape(client: Client, inbox: UnsafeInbox) -> None:
    answer = send(client, GOOD)
    assert answer.status_code == 201
    resource = answer.json
    assert resource is not None
    assert resource["sid"].startswith("SM")
    assert len(resource["sid"]) == 34
    assert (resource["status"], resource["to"], resource["from"]) == ("queued", GOOD["To"], GOOD["From"])
    assert resource["account_sid"] == DEFAULT_ACCOUNT_SID
    assert resource["date_created"] == "Sun, 01 Mar 2026 12:00:00 +0000"
    assert [message.body for message in inbox.find()] == [GOOD["Body"]]


def test_a_messaging_service_may_stand_for_the_sender(client: Client) -> None:
    service = "MG" + "0" * 32
    answer = send(client, {"To": GOOD["To"], "Body": "hello", "MessagingServiceSid": service})
    assert answer.status_code == 201
    assert answer.json is not None
    assert (answer.json["from"], answer.json["messaging_service_sid"]) == (None, service)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"To": ""}, 21604),
        ({"From": ""}, 21603),
        ({"Body": ""}, 21602),
        ({"To": "0470000001"}, 21211),
        ({"To": "+0470000001"}, 21211),
        ({"To": "+3247000000112345"}, 21211),
        ({"To": "+32470000001\r\nX: y"}, 21211),
        ({"From": "not a number!"}, 21212),
        ({"Body": "x" * 1601}, 21617),
    ],
)
def test_a_message_that_twilio_would_refuse_is_refused_with_its_code(
    client: Client, inbox: UnsafeInbox, change: dict[str, str], code: int
) -> None:
    answer = send(client, {**GOOD, **change})
    assert answer.status_code == 400
    assert answer.json is not None
    assert (answer.json["code"], answer.json["status"]) == (code, 400)
    assert answer.json["more_info"].endswith(f"/{code}")
    assert inbox.find() == []


@pytest.mark.parametrize(
    "auth",
    [(DEFAULT_ACCOUNT_SID, "wrong"), ("AC" + "1" * 32, TOKEN), ("", ""), (DEFAULT_ACCOUNT_SID, ""), ("ä", "ö")],
)
def test_wrong_credentials_are_refused(client: Client, inbox: UnsafeInbox, auth: tuple[str, str]) -> None:
    answer = send(client, GOOD, auth=auth)
    assert answer.status_code == 401
    assert answer.json is not None
    assert answer.json["code"] == 20003
    assert "Basic" in answer.headers["WWW-Authenticate"]
    assert inbox.find() == []


def test_no_credentials_are_refused(client: Client) -> None:
    assert client.post(PATH, data=GOOD).status_code == 401
    assert client.post(PATH, data=GOOD, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 401


def test_another_account_is_not_found_and_another_method_not_allowed(client: Client) -> None:
    other = PATH.replace(DEFAULT_ACCOUNT_SID, "AC" + "1" * 32)
    assert send(client, GOOD, path=other).status_code == 404
    assert client.get(PATH, auth=(DEFAULT_ACCOUNT_SID, TOKEN)).status_code == 405


def test_OTP_10_a_message_cannot_break_out_of_the_page(client: Client, inbox: UnsafeInbox, clock: FixedClock) -> None:
    hostile = '</pre><script>alert(1)</script><img src=x onerror="alert(2)">'
    keep(inbox, clock, f'"{hostile}"@example.org', body=hostile, subject=hostile)
    answer = client.get("/", query_string={"to": f'"{hostile}"@example.org', "channel": "email"})
    page = answer.get_data(as_text=True)
    assert "1 message" in page
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page
    assert "script-src" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_page_shows_the_newest_first_with_a_badge_a_channel(
    client: Client, inbox: UnsafeInbox, clock: FixedClock
) -> None:
    keep(inbox, clock, "alice@example.org", subject="older mail")
    keep(inbox, clock, "+32470000001", body="newer text")
    page = client.get("/").get_data(as_text=True)
    assert page.index("newer text") < page.index("older mail")
    assert 'class="badge sms">SMS<' in page
    assert 'class="badge email">E-mail<' in page
    assert "<script" not in page


def test_the_page_says_where_to_send_when_it_is_empty(client: Client) -> None:
    page = client.get("/").get_data(as_text=True)
    assert "Nothing here yet" in page
    assert "127.0.0.1:8425" in page
    assert "http-equiv" not in page
    assert "No message matches" in client.get("/?to=alice@example.org").get_data(as_text=True)


def test_the_page_reloads_only_when_asked_to(client: Client) -> None:
    assert '<meta http-equiv="refresh" content="5">' in client.get("/?refresh=on").get_data(as_text=True)


def test_the_json_form_filters_by_recipient_channel_and_number(
    client: Client, inbox: UnsafeInbox, clock: FixedClock
) -> None:
    for recipient in ("alice@example.org", "+32470000001", "Alice@Example.org"):
        keep(inbox, clock, recipient)

    def found(**query: str) -> list[int]:
        answer = client.get("/messages.json", query_string=query).json
        assert answer is not None
        return [message["id"] for message in answer["messages"]]

    assert found() == [3, 2, 1]
    assert found(to="alice@example.org") == [3, 1]
    assert found(to="alice@example.org", after="1") == [3]
    assert found(channel="sms") == [2]
    assert found(to="+32470000001") == [2]
    assert found(to=" 32470000001") == [2]
    assert found(to="nobody@example.org") == []


@pytest.mark.parametrize("query", ["channel=fax", "after=-1", "after=x", "after=99999999999"])
def test_a_query_of_another_form_is_refused(client: Client, query: str) -> None:
    assert client.get(f"/messages.json?{query}").status_code == 400


def test_other_addresses_and_methods_are_refused(client: Client) -> None:
    assert client.get("/admin").status_code == 404
    assert client.post("/messages.json").status_code == 405
    assert client.get("/healthz").json == {"status": "ok"}
    assert client.get("/inbox.css").mimetype == "text/css"


def test_the_inbox_forgets_the_oldest_and_cuts_the_longest(clock: FixedClock) -> None:
    inbox = UnsafeInbox(capacity=3)
    for number in range(5):
        keep(inbox, clock, "alice@example.org", body=str(number) * (MAX_BODY_CHARACTERS + 1))
    assert [message.number for message in inbox.find()] == [5, 4, 3]
    assert all(len(message.body) == MAX_BODY_CHARACTERS for message in inbox.find())


def test_OTP_06_a_message_in_a_log_line_shows_no_content(inbox: UnsafeInbox, clock: FixedClock) -> None:
    keep(inbox, clock, "alice@example.org", body="918273", subject="918273")
    assert "918273" not in repr(inbox.find())
    assert "alice" not in repr(inbox.find())


def mail(text: str | None = None, html: str | None = None) -> EmailMessage:
    message = EmailMessage()
    if text is not None:
        message.set_content(text)
    if html is not None:
        if text is None:
            message.set_content(html, subtype="html")
        else:
            message.add_alternative(html, subtype="html")
    return message


def test_the_plain_part_of_a_mail_is_shown_before_the_html_part() -> None:
    assert text_of(mail("plain", "<b>html</b>")).strip() == "plain"
    assert text_of(mail(html="<b>html</b>")).strip() == "<b>html</b>"
    for without_text in (b"", b"Content-Type: image/png\r\n\r\nx"):
        assert text_of(message_from_bytes(without_text, policy=default)) == ""


def test_a_mail_in_an_unknown_charset_has_no_text_and_does_no_harm() -> None:
    message = mail("plain")
    message.replace_header("Content-Type", 'text/plain; charset="no-such-charset"')
    assert isinstance(text_of(message), str)
