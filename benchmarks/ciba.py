"""A round of CIBA, for ``benchmarks.csc``: asked for, found and approved by the person on their own pages, collected.

At the identity provider alone, with PostgreSQL: a sign-in (scope ``openid``) of people whose session is there already.
A signature takes the same requests, and the credential is read from the signing service besides.  The processor time
includes that everybody signed in once, just before.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import secrets
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode, urlsplit

from benchmarks.browser import Form, Person, SignIn, forms_of
from benchmarks.driver import Answer, closed_loop, unexpected
from benchmarks.errors import RunInvalid, Unexpected
from benchmarks.login_stand import HASHED, UNHASHED, LoginStand, login_stand
from benchmarks.measure import Figure, Peer
from benchmarks.stand import say

CLIENT: Final = "benchmark-ciba"
GRANT: Final = "urn:openid:params:grant-type:ciba"
_LINK: Final = re.compile(r'href="(/account/approvals/[^"]+)"')
_ROUNDS: Final = 100_000


class Round(SignIn):
    """A relying party and a person, one round after another; the person has signed in when the window begins."""

    def __init__(self, port: int, person: Person, secret: str) -> None:
        super().__init__(port, "idp.localhost", [person], lambda _phone: None, lambda: ("", ""))
        self._person = person
        pair = base64.b64encode(f"{CLIENT}:{secret}".encode()).decode()
        self._headers = {
            "Authorization": f"Basic {pair}",
            "Content-Type": "application/x-www-form-urlencoded",
        }

    def __enter__(self) -> Round:
        super().__enter__()
        self._arrive("/account/approvals")
        return self

    def work(self, number: int) -> tuple[int, bytes]:
        """One round, from the request to the token.

        :raises Unexpected: something else came.
        """
        asked = self._ask(
            "/oauth2/bc-authorize",
            {"scope": "openid", "login_hint": self._person.username, "binding_message": f"Round {number}"},
        )
        page = self._arrive("/account/approvals")
        found = _LINK.search(page.body.decode())
        if found is None:
            raise Unexpected("no request is listed")
        page = self._arrive(found[1])
        for name, fields in (("open", {}), ("consent", {"decision": "approve"})):
            form = forms_of(page.body.decode()).get(name)
            if form is None:
                raise Unexpected(f"a page without the form {name}")
            page = self._submit(form, fields)
        tokens = self._ask("/oauth2/token", {"grant_type": GRANT, "auth_req_id": str(asked["auth_req_id"])})
        return 1, str(tokens["token_type"]).encode()

    def _ask(self, path: str, form: dict[str, str]) -> dict[str, object]:
        # Without the person's cookies: this is the relying party.
        answer = self.send("POST", path, urlencode(form).encode(), dict(self._headers))
        if answer.status != 200:
            raise unexpected(answer)
        value: dict[str, object] = json.loads(answer.body)
        return value

    def _arrive(self, path: str) -> Answer:
        return self._settled(self._get(path))

    def _submit(self, form: Form, fields: dict[str, str]) -> Answer:
        return self._settled(self._post(form, fields))

    def _settled(self, answer: Answer) -> Answer:
        for _ in range(12):
            if answer.status in {302, 303}:
                parts = urlsplit(answer.headers["Location"])
                answer = self._get(f"{parts.path}?{parts.query}" if parts.query else parts.path)
            elif answer.status == 200 and "sign-in" in forms_of(answer.body.decode()):
                answer = self._fill_in(answer, self._person)
            elif answer.status == 200:
                return answer
            else:
                raise unexpected(answer)
        raise Unexpected("the pages have no end")


def measure(options: argparse.Namespace) -> tuple[Peer, Figure]:
    """Rounds a second, beside the durable commits that the disk gives.

    :raises BenchmarkError: it did not start, or no round ended well.
    """
    with login_stand(1, say) as stand:
        say("the disk by itself")
        commits = stand.database.commits_per_second()
        peer = Peer("PostgreSQL commits", round(commits, 1), "commits/s", "one connection, fsync on")
        secret = _register(stand)
        people = stand.enrol("ciba", options.connections)
        say(f"CIBA: {options.seconds:.0f} s")
        meter = stand.processes.meter()
        outcome = closed_loop(
            lambda turn: Round(stand.ports[HASHED], people[turn], secret),
            _ROUNDS,
            workers=_at_most(options.connections, people),
            seconds=options.seconds,
        )
        usage = meter.read()
        if not outcome.samples:
            raise RunInvalid(f"no round ended well: {dict(outcome.errors)}")
        figure = Figure.of(
            name="CIBA round (a sign-in, approved on the person's pages)",
            unit="rounds",
            connections=options.connections,
            samples=outcome.samples,
            window=outcome.window,
            peer=peer,
            errors=outcome.errors,
            cpu_seconds={part: spent for part, spent in usage.by_part.items() if part != UNHASHED},
            others_cpu_share=usage.others_share,
        )
    return peer, figure


def _at_most(connections: int, people: Sequence[Person]) -> int:
    return min(connections, len(people))


def _register(stand: LoginStand) -> str:
    directory = stand.key_dir.parent
    path = directory / f"ciba-{secrets.token_hex(4)}"
    stand.processes.run(
        "ciba client", "launcher", "idp", "client", "create", "--config", str(directory / "idp.toml"),
        "--client-id", CLIENT, "--name", "Benchmark", "--secret-file", str(path),
        "--scope", "openid", "--grant-type", GRANT,
    )  # fmt: skip
    return path.read_text(encoding="utf-8").strip()
