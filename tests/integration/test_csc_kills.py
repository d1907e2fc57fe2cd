"""SAD-03 over HTTP, in every version: web tier or module is killed between signature and answer, and the client, who
has none, sends the identical request again.  What the HSM was handed is counted on its side."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient

from contract import sad as sads
from contract.sad import Sad
from foundation.files import write_secret
from signing.app import create_app
from signing.csc.dialect import Dialect, dialects
from signing.link.client import SamClient
from signing.storage.engine import open_engine
from tests.fakes.sam import ECDSA_SHA256, digest
from tests.integration.bola_requests import to_dialect
from tests.integration.oidc_world import SHA256
from tests.integration.oracle import Oracle
from tests.integration.sam_site import ROOT, Site
from tests.integration.test_sam_kills import shimmed_site, signs, until
from tests.integration.web_node import POINTS, settings_in
from tests.shim import Shim, of_digest

pytestmark = pytest.mark.hsm

SPENT = (400, "Invalid parameter SAD")
EXPECTED = {"before_it_is_sent": True, "while_it_is_signed": True, "after_the_answer": False}
"""Where the web tier is killed: whether the identical request has the values afterwards, at another node."""
PATIENCE = 60
"""Seconds."""


@dataclass
class Asking:
    """A client, in one version."""

    site: Site
    dialect: Dialect

    def request(self, sad: Sad) -> tuple[str, dict[str, Any], dict[str, str]]:
        """Path, body and headers; the SAD is the bearer."""
        body = {
            "credentialID": sad.credential_id,
            "hashes": [base64.b64encode(each).decode() for each in sad.dtbsr],
            "hashAlgorithmOID": SHA256,
            "signAlgo": ECDSA_SHA256,
        }
        headers = {"Authorization": f"Bearer {sads.encode(sad, self.site.idp_key)}"}
        return f"{self.dialect.path}/signatures/signHash", to_dialect(self.dialect, body), headers


def test_the_points_are_all_gone_through() -> None:
    assert set(POINTS) == set(EXPECTED)


@contextmanager
def dying(directory: Path) -> Iterator[tuple[str, Callable[[str], None], Callable[[], str]]]:
    """A web tier: its URL, what arms it, and what says how it ended."""
    command = [sys.executable, "-m", "tests.integration.web_node", str(directory)]
    with (
        (directory / "web.log").open("w") as log,
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        to, back = process.stdin, process.stdout
        port = back.readline().strip()
        assert port, (directory / "web.log").read_text()

        def arm(point: str) -> None:
            to.write(f"{point}\n")
            to.flush()

        yield f"http://127.0.0.1:{port}", arm, lambda: back.readline().strip()
        to.close()


def answered(http: FlaskClient, asked: tuple[str, dict[str, Any], dict[str, str]]) -> Any:
    path, body, headers = asked
    return http.post(path, json=body, headers=headers)


def test_SAD_03_a_web_tier_killed_between_signature_and_answer_signs_nothing_twice_in_any_version(
    shim: Shim, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'sam.sqlite'}"
    site = shimmed_site(tmp_path, url, shim)
    write_secret(tmp_path / "client-secret", b"s")
    oracle = Oracle(shim, open_engine(url))
    with site.serving(), SamClient(site.socket()) as client, dying(tmp_path) as (web, arm, ended):
        until(lambda: signs(client))
        view = site.credential(client)
        oracle.begin()
        another, asked = create_app(settings_in(tmp_path), sam=client).test_client(), 0
        for dialect in dialects():
            for point in POINTS:
                asked += 2
                sad = site.sad(view, (digest(asked), digest(asked + 1)))
                path, body, headers = Asking(site, dialect).request(sad)
                arm(point)
                with pytest.raises(requests.ConnectionError):
                    requests.post(f"{web}{path}", json=body, headers=headers, timeout=PATIENCE)
                assert ended() == str(-signal.SIGKILL)
                answer = answered(another, (path, body, headers))
                if EXPECTED[point]:
                    assert answer.status_code == 200, (dialect.name, point, answer.text)
                    values = [base64.b64decode(each) for each in answer.get_json()["signatures"]]
                    oracle.release(sad.dtbsr, values)
                    answer = answered(another, (path, body, headers))
                told = (answer.status_code, answer.get_json()["error_description"])
                assert told == SPENT, (dialect.name, point)
                # Whoever has the values: they were made once.
                assert [oracle.sent()[of_digest(each)] for each in sad.dtbsr] == [1, 1], (dialect.name, point)
    oracle.verify()
    oracle.engine.dispose()


def test_SAD_03_a_module_killed_before_its_answer_signs_nothing_twice_in_any_version(
    shim: Shim, tmp_path: Path
) -> None:
    site = shimmed_site(tmp_path, f"sqlite:///{tmp_path / 'sam.sqlite'}", shim)
    write_secret(tmp_path / "client-secret", b"s")
    with SamClient(site.socket()) as client, ThreadPoolExecutor(3) as pool:
        web = create_app(settings_in(tmp_path), sam=client)
        with site.serving() as process:
            workers = site.workers()
            view = site.credential(client)
            before, handed = shim.calls("C_Sign/users"), len(shim.sent())
            requested = [
                Asking(site, dialect).request(site.sad(view, (digest(number + 1),)))
                for number, dialect in enumerate(dialects())
            ]
            shim.fault("C_Sign/users", "hang")
            waiting = [pool.submit(answered, web.test_client(), each) for each in requested]
            until(lambda: shim.calls("C_Sign/users") > before)
            for pid in (*workers, process.pid):
                os.kill(pid, signal.SIGKILL)
            shim.heal()
            for asking in waiting:
                answer = asking.result(PATIENCE)
                assert (answer.status_code, answer.get_json()["error"]) == (503, "temporarily_unavailable")
        with site.serving():
            until(lambda: signs(client))
            for each in requested:
                answer = answered(web.test_client(), each)
                assert (answer.status_code, answer.get_json()["error_description"]) == SPENT, each[0]
            assert len(shim.sent()) == handed
