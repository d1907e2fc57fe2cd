"""Signing from end to end: sign in, choose a credential, have what is to be signed approved, fetch the values.

One approval covers as many digests as the credential allows (`multisign`); what is more is asked for in turn.  Values
are fetched in slices and verified, and each slice is handed over as it comes: what was signed before a failure is kept.
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from .algorithms import Scheme, scheme_for, verify
from .credential import AuthObject, Credential
from .discovery import authorization_server, discover
from .errors import BusyError, NotUsableError, ResponseForgedError, StepUpRequiredError, UnreachableError, UsageError
from .keys import ClientAuthentication, DpopKey
from .oauth import CREDENTIAL, SERVICE, Approve, OAuth, Tokens, details_of
from .service import Bearer, Sad, Service
from .transport import Transport

SLICE: Final = 25
"""Digests in one request for values."""
_TRIES: Final = 4
_LONGEST_PAUSE: Final = 30

Stage = Literal["sign in", "credentials", "approve", "sign"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is."""

    stage: Stage
    done: int = 0
    """Signatures that are there; of `total`."""
    total: int = 0


@dataclass(frozen=True, slots=True)
class Item:
    """Something to be signed."""

    digest: bytes
    label: str
    """What the person reads when approving."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A person who is at another device, or at no browser that this program can open (CIBA)."""

    login: str
    """Their name at the authorization server."""
    tell: Callable[[str, str], object]
    """Told what has to be approved (a scope), and the code that is shown beside it there."""
    seconds: float | None = None
    """To wait for each approval; None: as long as the request lives."""


Answer = Callable[[Sequence[AuthObject], Callable[[AuthObject], str | None]], Mapping[str, str]]
"""Asks the person for the answers to a credential's objects, by their ids.  The second argument has a code sent, or a
challenge made that it returns; call it for each object whose `sent` is true before asking."""


def _ignore(_: Progress) -> None:
    pass


class Signer:
    """A client, a person and a signing service."""

    def __init__(
        self,
        service: Service,
        oauth: OAuth,
        approve: Approve,
        *,
        answer: Answer | None = None,
        elsewhere: Elsewhere | None = None,
        progress: Callable[[Progress], None] = _ignore,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        :param approve: sends the person's browser somewhere and returns with what it brings back.
        :param answer: for credentials in explicit mode; without it the service asks the person elsewhere.
        :param elsewhere: signs in and approves elsewhere, in the place of ``approve``.
        :param progress: called from the same thread, often.
        """
        self.service = service
        self.oauth = oauth
        self._approve = approve
        self._answer = answer
        self._elsewhere = elsewhere
        self.progress = progress
        self._pause = pause
        self._token: Bearer | None = None

    @classmethod
    def connect(
        cls,
        address: str,
        client: ClientAuthentication,
        approve: Approve,
        *,
        redirect_uri: str,
        transport: Transport | None = None,
        dpop: DpopKey | None = None,
        **options: Any,
    ) -> Signer:
        """Find out what the service at an address is, and where its authorization server.

        :param options: further arguments of `Signer`.
        :raises ClientError: as `discover` and `authorization_server` do.
        """
        transport = transport or Transport()
        info = discover(transport, address)
        oauth = OAuth(transport, authorization_server(transport, info), client, redirect_uri, dpop=dpop)
        return cls(Service(transport, info, dpop=dpop), oauth, approve, **options)

    def sign_in(self, *, step_up: StepUpRequiredError | None = None) -> Bearer:
        """Have the person sign in; the service token, which is kept for what follows."""
        self.progress(Progress("sign in"))
        tokens = self._tokens(SERVICE, {}, step_up)
        self._token = Bearer(tokens.access_token, tokens.bound)
        return self._token

    def credentials(self) -> list[Credential]:
        """The person's credentials.  Signs the person in, again where the service wants more (RFC 9470)."""
        token = self._token or self.sign_in()
        self.progress(Progress("credentials"))
        try:
            return self.service.credentials(token)
        except StepUpRequiredError as e:
            return self.service.credentials(self.sign_in(step_up=e))

    def choose(self, credential_id: str | None = None) -> Credential:
        """The credential of that identifier, or the first that can sign.

        :raises NotUsableError: there is none.
        """
        found = [each for each in self.credentials() if credential_id in {None, each.id}]
        usable = [each for each in found if each.usable]
        if not usable:
            raise NotUsableError("the person has no such credential" if credential_id and not found else
                                 "the person has no credential that can sign now")  # fmt: skip
        return usable[0]

    def sign(self, credential: Credential, items: Sequence[Item], scheme: Scheme | None = None) -> list[bytes]:
        """One verified value for each item, in order; all of them or none: see `signing`."""
        return [value for _, value in self.signing(credential, items, scheme)]

    def signing(
        self, credential: Credential, items: Sequence[Item], scheme: Scheme | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Each item's number with its verified value, as soon as it is there.

        :raises AuthorizationRefusedError: not approved.
        :raises SignatureWrongError: a value is not what it should be.
        """
        scheme = scheme or scheme_for(credential.certificates[0], credential.algorithms)
        if any(len(item.digest) != scheme.digest_size for item in items):
            raise UsageError(f"digests of {scheme.hash_name} have {scheme.digest_size} octets")
        done = 0
        for first in range(0, len(items), credential.multisign):
            batch = items[first : first + credential.multisign]
            self.progress(Progress("approve", done, len(items)))
            sad = self.authorise(credential, batch, scheme)
            for start in range(0, len(batch), SLICE):
                part = [item.digest for item in batch[start : start + SLICE]]
                values = self._values(sad, credential, part, scheme)
                for digest, value in zip(part, values, strict=True):
                    verify(credential.certificates[0], scheme, digest, value)
                    yield done, value
                    done += 1
                self.progress(Progress("sign", done, len(items)))

    def authorise(self, credential: Credential, items: Sequence[Item], scheme: Scheme) -> Sad:
        """Have digests approved, in the way that the credential has."""
        if credential.mode == "oauth2code" or self._elsewhere is not None:
            return self._authorise_by_token(credential, items, scheme)
        token = self._token or self.sign_in()
        digests = [item.digest for item in items]
        answers = None
        typed = [item for item in credential.objects if not item.elsewhere]
        if self._answer is not None and typed:
            answers = self._answer(
                typed, lambda wanted: self.service.send_challenge(token, credential, wanted.id)
            )
        found = self.service.authorize(token, credential, digests, scheme.hash_name, answers=answers)
        if isinstance(found, Sad):
            return found
        return self.service.wait_for_approval(token, found, pause=self._pause)

    def _authorise_by_token(self, credential: Credential, items: Sequence[Item], scheme: Scheme) -> Sad:
        tokens = self._tokens(CREDENTIAL, self._parameters(credential, items, scheme), None)
        if tokens.credential_id not in {None, credential.id}:
            raise ResponseForgedError("the approval is for another credential than the one asked for")
        return Sad(tokens.access_token, is_token=True, bound=tokens.bound, expires_in=tokens.expires_in)

    def _tokens(self, scope: str, parameters: Mapping[str, str], step_up: StepUpRequiredError | None) -> Tokens:
        """What the person grants, at this browser or elsewhere."""
        if self._elsewhere is None:
            return self.oauth.authorize(self._approve, scope, parameters, step_up=step_up)
        code = f"{secrets.randbelow(10**6):06d}"
        asked = self.oauth.ask_elsewhere(
            scope, parameters, login_hint=self._elsewhere.login, message=f"Code {code}", step_up=step_up
        )
        self._elsewhere.tell(scope, code)
        return self.oauth.collect(asked, wait=self._elsewhere.seconds, pause=self._pause)

    def _parameters(self, credential: Credential, items: Sequence[Item], scheme: Scheme) -> dict[str, str]:
        """Rich (RFC 9396) where the server takes that, since it has a label for each digest."""
        kind = self.service.info.names.details
        if kind in self.oauth.server.details_types:
            details: dict[str, Any] = {
                "type": kind,
                "credentialID": credential.id,
                "documentDigests": [
                    {"hash": base64.b64encode(item.digest).decode(), "label": item.label} for item in items
                ],
                "hashAlgorithmOID": scheme.hash_oid,
            }
            return {"authorization_details": details_of([details])}
        names = self.service.info.names
        return {
            "credentialID": credential.id,
            "numSignatures": str(len(items)),
            names.hashes: ",".join(base64.urlsafe_b64encode(item.digest).rstrip(b"=").decode() for item in items),
            "hashAlgorithmOID": scheme.hash_oid,
            "description": _together([item.label for item in items]),
        }

    def _values(self, sad: Sad, credential: Credential, digests: list[bytes], scheme: Scheme) -> list[bytes]:
        """Repeats the identical request where nothing came of it: a SAD never gives a second signature of a digest."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return self.service.sign_hash(self._token, sad, credential, digests, scheme)
            except BusyError as e:
                if attempt >= _TRIES:
                    raise
                self._pause(min(e.retry_after or 2**attempt, _LONGEST_PAUSE) + secrets.randbelow(1000) / 1000)
            except UnreachableError:
                if attempt > 1:
                    raise


def _together(labels: Sequence[str]) -> str:
    """One description of all, within the 500 characters that there are."""
    text = ", ".join(labels)
    return text if len(text) <= 500 else f"{text[:480]}… ({len(labels)})"
