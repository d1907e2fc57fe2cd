"""The shipped nginx configuration in front of the portal: sizes, slow answers, and addresses that a stranger writes."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from foundation.files import write_secret
from foundation.jose import export_signing_key, generate_signing_key
from launcher.toml import dumps
from portal.cli import main
from tests import pki
from tests.integration.answering_authority import answering
from tests.integration.granian import granian
from tests.integration.nginx_site import DOCUMENTS, SHIPPED, Answered, Site, nginx, write_nginx
from tests.sockets import free_port

BURST = 40


@pytest.fixture(scope="module")
def front() -> Iterator[Site]:
    now = datetime.now(UTC)  # noqa: TID251 - real servers have real clocks
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="portal-")))
        people, servers = pki.authority("People", at=now), pki.authority("Servers", at=now)
        made = Site(directory, free_port(), 9, people, servers, stack.enter_context(answering()), now)
        made.portal = free_port()
        (directory / "nginx").mkdir()
        write_nginx(made, directory / "nginx")
        stack.enter_context(behind(made))
        stack.enter_context(nginx(made, directory / "nginx", DOCUMENTS))
        yield made


@contextmanager
def behind(made: Site) -> Iterator[None]:
    """The portal under granian, whose two services are not there."""
    write_secret(made.directory / "client.pem", export_signing_key(generate_signing_key()))
    settings: dict[str, Any] = {
        "mode": "development",
        "public_url": f"https://{DOCUMENTS}:{made.port}",
        "issuer": "http://127.0.0.1:9",
        "csc_base": "http://127.0.0.1:9/csc/v2",
        "client_id": "portal",
        "client_key_file": "client.pem",
        "key_file": "portal.key",
        "database_url": f"sqlite:///{made.directory / 'portal.sqlite'}",
        "validate_url": "http://127.0.0.1:9/validate",
        "trusted_proxies": ["127.0.0.1"],
        "limits": {"address_burst": BURST, "address_per_minute": 1},
    }
    (made.directory / "portal.toml").write_text(dumps(settings))
    assert main(("init", "--config", str(made.directory / "portal.toml"))) == 0
    log = made.directory / "behind.log"
    with granian("portal", made.portal, made.directory / "portal.toml", log=log, health="live"):
        yield


def url(front: Site, path: str) -> str:
    return f"https://{DOCUMENTS}:{front.port}{path}"


def sent(front: Site, path: str, octets: int, **headers: str) -> Answered:
    """A form of that size."""
    return front.ask("POST", url(front, path), {"x": "y" * (octets - 2)}, headers=headers)


def test_a_browser_gets_the_page_its_cookie_and_the_style(front: Site) -> None:
    page = front.ask("GET", url(front, "/"))
    assert page.status == 200
    assert re.match(r"__Host-privyseal-portal=[^;]+; .*Secure", page.headers["set-cookie"])
    style = re.search(r'href="(/static/[^"]+css[^"]*)"', page.text)
    assert style is not None
    assert front.ask("GET", url(front, style[1])).status == 200


@pytest.mark.parametrize("path", ["/documents", "/validate"])
def test_files_as_large_as_they_may_be_pass_where_they_belong_and_larger_ones_do_not(front: Site, path: str) -> None:
    # The portal itself answers: the form has no token, or is larger than a form may be.
    assert sent(front, path, 20 << 20).status in {400, 413}
    assert "nginx" in sent(front, path, 22 << 20).text
    assert sent(front, "/sign", 300 << 10).status == 413
    assert "nginx" in sent(front, "/sign-in", 300 << 10).text


def test_SES_10_the_host_and_the_address_are_ours_whatever_a_stranger_writes(front: Site) -> None:
    page = front.ask("GET", url(front, "/documents"), headers={"X-Forwarded-Host": "evil.example", "Forwarded": "x"})
    assert "evil.example" not in page.text
    answers = [
        front.ask("POST", url(front, "/sign-in"), {}, headers={"X-Forwarded-For": f"198.51.100.{each}"}).status
        for each in range(BURST + 1)
    ]
    assert answers[-1] == 429, "one address, whatever it says of itself"


def test_a_signature_has_the_time_that_it_takes() -> None:
    text = (SHIPPED / "privyseal-portal.conf").read_text()
    callback = text.partition("location = /callback")[2].partition("}")[0]
    found = re.search(r"proxy_read_timeout (\d+)s", callback)
    assert found is not None
    # Twice PortalSettings.timeout_seconds, and the pause between (portal.outside.signing).
    assert int(found[1]) >= 2 * 120 + 30
