"""Our own TLS listener for certificates, as the command that operators run."""

from __future__ import annotations

import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from foundation.files import write_secret
from foundation.settings import process_environment
from tests import pki
from tests.architecture.source import ROOT
from tests.integration.nginx_site import CERT, Answered, Site, field_of, header_of, site
from tests.pki import Issued, Leaf


@pytest.fixture(scope="module")
def front() -> Iterator[Site]:
    with site() as made:
        yield made


@pytest.fixture(scope="module")
def direct(front: Site) -> Iterator[Site]:
    """The same installation, with the listener in nginx's place where certificates are presented."""
    own, nginx = front.directory / "own.key", front.directory / "nginx"
    write_secret(own, (nginx / f"{CERT}.key").read_bytes())
    command = (
        sys.executable, "-m", "launcher", "idp", "certificate-listener", "--config",
        str(front.directory / "idp" / "idp.toml"), "--port", "0",
        "--certificate", str(nginx / f"{CERT}.pem"), "--key", str(own),
    )  # fmt: skip
    with (front.directory / "listener.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=process_environment(), stdout=subprocess.PIPE, stderr=log)
        try:
            assert process.stdout is not None
            line = process.stdout.readline().decode()
            found = re.search(r"listening on 127\.0\.0\.1:(\d+)", line)
            assert found is not None, (front.directory / "listener.log").read_text()
            yield replace(front, port=int(found.group(1)))
        finally:
            process.terminate()
            assert process.wait(30) == 0
            if process.stdout is not None:
                process.stdout.close()


def present(front: Site, direct: Site, issued: Issued | None, **headers: str) -> Answered:
    return direct.present(front.at_sign_in()[1], issued, **headers)


def test_somebody_signs_in_with_a_certificate(front: Site, direct: Site) -> None:
    ana = front.person()
    front.says(ana)
    cookie, ticket = front.at_sign_in()
    shown = direct.present(ticket, ana)
    assert shown.status == 200, shown.text
    fields = {name: field_of(shown.text, name) for name in ("csrf_token", "handover")}
    action = re.search(r'data-form="handover" method="post" action="([^"]+)"', shown.text)
    assert action is not None
    back = front.ask("POST", action.group(1), fields, cookie=cookie)
    signed_in = back.headers["set-cookie"].split(";")[0]
    assert front.ask("GET", f"{front.issuer}/account/", cookie=signed_in).status == 200


def test_what_is_wrong_is_said_on_a_page(front: Site, direct: Site) -> None:
    ana = front.person()
    front.silent()
    assert 'data-cause="missing"' in present(front, direct, None).text
    assert 'data-cause="expired"' in present(front, direct, front.person(end=front.now - timedelta(minutes=1))).text
    assert 'data-cause="not_checked"' in present(front, direct, ana).text


def test_another_authoritys_certificate_does_not_get_through_the_handshake(front: Site, direct: Site) -> None:
    other = pki.authority("Other", at=front.now).issue(Leaf(begin=front.now - pki.DAY, end=front.now + pki.DAY))
    with pytest.raises((ssl.SSLError, OSError)):
        present(front, direct, other)


def test_SES_10_headers_about_a_certificate_say_nothing(front: Site, direct: Site) -> None:
    ana = front.person()
    front.says(ana)
    spoofed = {"Client-Cert": header_of(ana), "Privyseal.Client_Certificate": "x", "Host": "idp.localhost"}
    assert 'data-cause="missing"' in present(front, direct, None, **spoofed).text
    for path in ("/account/", "/", "/health/ready"):
        answer = direct.ask("GET", f"https://{CERT}:{direct.port}{path}", headers={"Host": "idp.localhost"})
        assert answer.status == 404


SMUGGLED = b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        [b"Content-Length: 0"],
        [b"Content-Length: 0", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked"],
        [b"Content-Length: 0", b"Content-Length: 40"],
        [b"Content-Length: +0"],
        [b"Content-Length: 99999999999"],
        [b"X: a", b" Transfer-Encoding: chunked", b"Content-Length: 0"],
    ],
)
def test_SES_12_a_connection_has_one_request_and_one_answer(direct: Site, headers: list[bytes]) -> None:
    request = b"\r\n".join([b"POST /certificate HTTP/1.1", f"Host: {CERT}".encode(), *headers, b"", SMUGGLED])
    answers = direct.raw(CERT, request)
    assert answers.count(b"HTTP/1.") == 1
    assert b" 400 " in answers.split(b"\r\n")[0]
