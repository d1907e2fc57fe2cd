"""The shipped nginx configuration, with a real nginx in front of the real server (SES-10, SES-12)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
import requests
from cryptography.x509 import ocsp as der

from tests import pki
from tests.integration.nginx_site import CERT, IDP, SECRET, Site, field_of, header_of, site
from tests.pki import Issued, Leaf

REVOKED = der.OCSPCertStatus.REVOKED


@pytest.fixture(scope="module")
def front() -> Iterator[Site]:
    with site() as made:
        yield made


def test_somebody_signs_in_with_a_certificate(front: Site) -> None:
    ana = front.person()
    front.says(ana)
    cookie, ticket = front.at_sign_in()
    shown = front.present(ticket, ana)
    assert shown.status == 200, shown.text
    action = re.search(r'data-form="handover" method="post" action="([^"]+)"', shown.text)
    assert action is not None
    fields = {name: field_of(shown.text, name) for name in ("csrf_token", "handover")}
    back = front.ask("POST", action.group(1), fields, cookie=cookie)
    assert back.status in {302, 303}, back.text
    signed_in = back.headers["set-cookie"].split(";")[0]
    page = front.ask("GET", f"{front.issuer}/account/", cookie=signed_in)
    assert (page.status, "Alice Example" in page.text) == (200, True)
    policy = shown.headers["content-security-policy"]
    assert f"form-action 'self' {front.issuer}" in policy


def test_a_long_certificate_arrives_whole_and_one_that_is_too_long_not_at_all(front: Site) -> None:
    url = "http://ca.example/" + "x" * 700
    long = front.person(crl=(url, url, url))
    assert len(long.der) > 2500
    front.says(long)
    assert front.present(front.at_sign_in()[1], long).status == 200
    longer = front.person(crl=(url,) * 6)
    assert 'data-cause="malformed"' in front.present(front.at_sign_in()[1], longer).text


CASES: dict[str, Callable[[Site], Issued | None]] = {
    "missing": lambda _front: None,
    "expired": lambda front: front.person(end=front.now - timedelta(minutes=1)),
    "not_yet_valid": lambda front: front.person(begin=front.now + timedelta(hours=1)),
    "unknown_issuer": lambda front: pki.authority("Other", at=front.now).issue(
        Leaf(begin=front.now - pki.DAY, end=front.now + pki.DAY)
    ),
    "revoked": lambda front: revoked(front, front.person()),
    "not_checked": lambda front: unheard(front, front.person()),
}


def revoked(front: Site, issued: Issued) -> Issued:
    front.says(issued, REVOKED)
    return issued


def unheard(front: Site, issued: Issued) -> Issued:
    front.silent()
    return issued


@pytest.mark.parametrize("cause", CASES)
def test_what_is_wrong_with_a_certificate_is_said_on_a_page(front: Site, cause: str) -> None:
    issued = CASES[cause](front)
    page = front.present(front.at_sign_in()[1], issued)
    assert page.status == (503 if cause == "not_checked" else 403)
    assert re.findall(r'data-cause="(\w+)"', page.text) == [cause]


@pytest.mark.parametrize("name", ["Client-Cert", "Client_Cert", "client-cert", "CLIENT-CERT"])
def test_SES_10_a_certificate_that_a_browser_writes_into_a_header_is_thrown_away(front: Site, name: str) -> None:
    ana = front.person()
    front.says(ana)
    spoofed = {name: header_of(ana), "Client-Cert-Chain": header_of(front.root), "X-Privyseal-Proxy": SECRET}
    assert 'data-cause="missing"' in front.present(front.at_sign_in()[1], None, **spoofed).text
    # Beside a real one it changes nothing either: that of the handshake is taken.
    other = pki.authority("Other", at=front.now).issue(Leaf(begin=front.now - pki.DAY, end=front.now + pki.DAY))
    assert 'data-cause="unknown_issuer"' in front.present(front.at_sign_in()[1], other, **spoofed).text


def test_SES_10_who_comes_past_nginx_needs_its_secret(front: Site) -> None:
    ana = front.person()
    front.says(ana)
    ticket = front.at_sign_in()[1]
    for secret in ({}, {"X-Privyseal-Proxy": SECRET[:-1]}, {"X-Privyseal-Proxy": ""}):
        headers = {"Host": f"{CERT}:{front.port}", "Client-Cert": header_of(ana), **secret}
        url = f"http://127.0.0.1:{front.behind}/certificate"
        answer = requests.post(url, data={"certificate_ticket": ticket}, headers=headers, timeout=20)
        assert (answer.status_code, 'data-cause="missing"' in answer.text) == (403, True)


def test_SES_10_hosts_and_forwarded_headers_of_strangers_change_neither_issuer_nor_links(front: Site) -> None:
    evil = {
        "Forwarded": "host=evil.example;proto=http",
        **{f"X-Forwarded-{name}": "evil.example" for name in ("Host", "Server", "Prefix", "Proto", "Port")},
        "X-Original-URL": "/evil.example",
        "X-Rewrite-URL": "/evil.example",
    }
    there = f"{front.issuer}/.well-known/openid-configuration"
    for answer in (
        front.ask("GET", there, headers=evil),
        front.ask("GET", there, headers={"Host": "evil.example"}),
        front.ask("GET", f"{front.issuer}/account/", headers=evil),
        front.ask("GET", f"{front.issuer}//evil.example/", headers=evil),
    ):
        assert "evil.example" not in answer.text.replace("//evil.example/", "") + str(answer.headers)
    assert f'"issuer": "{front.issuer}"' in front.ask("GET", there, headers=evil).text.replace('":"', '": "')


def test_SES_10_one_name_in_the_handshake_and_another_in_the_request_is_refused(front: Site) -> None:
    request = f"GET /account/ HTTP/1.1\r\nHost: {CERT}:{front.port}\r\nConnection: close\r\n\r\n".encode()
    assert front.raw(IDP, request).startswith(b"HTTP/1.1 421 ")
    with pytest.raises(OSError, match=r"(?i)unrecognized|alert"):
        front.raw("evil.example", request)


def test_SES_10_the_certificates_host_serves_nothing_else(front: Site) -> None:
    for path in ("/", "/account/", "/health/ready", "/.well-known/openid-configuration"):
        assert front.ask("GET", f"https://{CERT}:{front.port}{path}").status == 404


HOST = f"Host: {IDP}"
GOOD = b"GET /smuggled HTTP/1.1\r\nHost: x\r\nX: "
CHUNKED = b"0\r\n\r\n"
ATTACKS = {
    "CL.TE": (b"POST /account/ HTTP/1.1", [b"Content-Length: 46", b"Transfer-Encoding: chunked"], CHUNKED + GOOD),
    "TE.CL": (b"POST /account/ HTTP/1.1", [b"Transfer-Encoding: chunked", b"Content-Length: 4"], b"26\r\n" + GOOD),
    "two lengths": (b"POST /account/ HTTP/1.1", [b"Content-Length: 0", b"Content-Length: 38"], GOOD),
    "a list of lengths": (b"POST /account/ HTTP/1.1", [b"Content-Length: 0, 38"], GOOD),
    "a signed length": (b"POST /account/ HTTP/1.1", [b"Content-Length: +0"], GOOD),
    "obs-fold": (b"POST /account/ HTTP/1.1", [b"X: a", b" Transfer-Encoding: chunked", b"Content-Length: 0"], GOOD),
    "a folded coding": (b"POST /account/ HTTP/1.1", [b"Transfer-Encoding:", b" chunked", b"Content-Length: 0"], GOOD),
    "a blank before the colon": (b"POST /account/ HTTP/1.1", [b"Transfer-Encoding : chunked"], CHUNKED + GOOD),
    "a coding with a tab": (b"POST /account/ HTTP/1.1", [b"Transfer-Encoding:\x0bchunked"], CHUNKED + GOOD),
    "two codings": (b"POST /account/ HTTP/1.1", [b"Transfer-Encoding: chunked, identity"], CHUNKED + GOOD),
    "two lines of coding": (
        b"POST /account/ HTTP/1.1",
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: cow"],
        CHUNKED + GOOD,
    ),
    "a size with an extension": (
        b"POST /account/ HTTP/1.1",
        [b"Transfer-Encoding: chunked"],
        b'1;a="\n"\r\nZ\r\n0\r\nX: \r\n\r\n',
    ),
    "a size beyond 64 bits": (
        b"POST /account/ HTTP/1.1",
        [b"Transfer-Encoding: chunked"],
        b"10000000000000001\r\nZ" + CHUNKED + GOOD,
    ),
    "HTTP/1.0 with a coding": (b"POST /account/ HTTP/1.0", [b"Transfer-Encoding: chunked"], CHUNKED + GOOD),
    "a NUL": (b"POST /account/ HTTP/1.1", [b"X: a\0b", b"Content-Length: 0"], b""),
    "a line feed in the target": (b"GET /a%0d%0aX:%20b\nGET /smuggled HTTP/1.1", [], b""),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_SES_12_no_second_request_hides_in_a_first_one(front: Site, attack: str) -> None:
    """Whatever nginx makes of it: the server behind is never given the request that was hidden."""
    line, headers, body = ATTACKS[attack]
    request = b"\r\n".join([line, f"{HOST}:{front.port}".encode(), *headers, b"", body])
    if attack == "CL.TE":
        request = request.replace(b"Content-Length: 46", b"Content-Length: %d" % len(body))
    answers = front.raw(IDP, request, first=1)  # some of them nginx goes on listening to
    # On the next connection that nginx takes from its pool, the answer is to the question.
    assert front.ask("GET", f"{front.issuer}/.well-known/openid-configuration").status == 200
    # It writes its log when it gets around to it.
    for _ in range(100):
        if "/.well-known/openid-configuration" in front.served():
            break
        time.sleep(0.05)
    assert "/.well-known/openid-configuration" in front.served(), "the log tells what the server was given"
    assert "/smuggled" not in front.served()
    assert answers.count(b"HTTP/1.") <= 1 or b" 400 " in answers, answers
