"""A web tier that is on another host: everything goes over TLS, and signs; the operator's socket stays where it is."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from signing.link.client import SamClient
from signing.link.doors import TlsSettings
from signing.link.errors import LinkRefused, LinkUnavailable
from signing.link.tls import TlsEndpoint
from signing.settings import SamTlsSettings
from tests.fakes.device import FakeDevice
from tests.fakes.link_tls import End
from tests.fakes.sam import digest
from tests.integration.sam_site import Site, make_site
from tests.integration.whole_world import Whole, sign_hash, whole
from tests.sockets import free_port


@pytest.fixture
def over_tls(tmp_path: Path) -> Iterator[Whole]:
    module, web, port = End(tmp_path, "module"), End(tmp_path, "web"), free_port()
    table = SamTlsSettings(f"127.0.0.1:{port}", web.certificate_file, web.key_file, (module.certificate_file,))
    door = TlsSettings("127.0.0.1", port, module.knows(web))
    with whole(tmp_path, FakeDevice(), door, sam_socket=None, sam_tls=table) as made:
        yield made


def test_a_person_signs_through_a_web_tier_that_reaches_the_module_over_tls(over_tls: Whole) -> None:
    alice = over_tls.people["alice"].credential_id
    assert over_tls.web.test_client().get("/health/ready").status_code == 200
    token, sad = over_tls.service_token("alice"), over_tls.sad("alice", b"a document")
    answer = over_tls.call("signatures/signHash", sign_hash(alice, b"a document", SAD=sad), token)
    assert answer.status_code == 200, answer.get_json()
    (value,) = answer.get_json()["signatures"]
    assert base64.b64decode(value, validate=True)
    again = over_tls.call("signatures/signHash", sign_hash(alice, b"a document", SAD=sad), token)
    assert again.status_code == 400


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path, f"sqlite:///{tmp_path / 'sam.sqlite'}")


@pytest.mark.hsm
def test_SAD_13_the_module_serves_the_public_operations_over_tls_and_never_the_operators(
    site: Site, tmp_path: Path
) -> None:
    module, web, other, port = End(tmp_path, "module"), End(tmp_path, "web"), End(tmp_path, "other"), free_port()
    site.write_config(
        tls={
            "listen": f"127.0.0.1:{port}",
            "certificate": str(module.certificate_file),
            "key": str(module.key_file),
            "peers": [str(web.certificate_file)],
        }
    )
    site.init()
    endpoint = TlsEndpoint("127.0.0.1", port, web.knows(module))
    with site.serving(), SamClient(endpoint) as far, SamClient(site.socket()) as near:
        far.ping()
        view = site.credential(far)
        request = site.request(site.sad(view))
        (value,) = far.sign(request)
        assert value
        # One ledger behind both doors.
        with pytest.raises(LinkRefused, match="sad_used"):
            near.sign(request)
        assert near.credential(view.credential_id) == far.credential(view.credential_id)
        for operation in ("status", "inspect_credentials", "execute_operation"):
            with pytest.raises(LinkRefused, match="bad_request"):
                far.call(operation, {})
        with SamClient(TlsEndpoint("127.0.0.1", port, other.knows(module))) as stranger:
            for attempt in (stranger.ping, lambda: stranger.sign(site.request(site.sad(view, (digest(2),))))):
                with pytest.raises(LinkUnavailable):
                    attempt()
        assert "somebody was turned away" in site.log().read_text()
    with SamClient(endpoint) as far, pytest.raises(LinkUnavailable):
        far.ping()


@pytest.mark.hsm
def test_a_module_whose_key_others_can_read_does_not_start(site: Site, tmp_path: Path) -> None:
    module = End(tmp_path, "module")
    module.key_file.chmod(0o644)
    site.write_config(
        tls={
            "listen": "127.0.0.1:7443",
            "certificate": str(module.certificate_file),
            "key": str(module.key_file),
            "peers": [str(module.certificate_file)],
        }
    )
    site.init()
    served = site.run("sam", "serve", "--config", str(site.config()), check=False)
    assert served.returncode != 0
    assert "0644" in served.stderr
