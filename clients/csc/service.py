"""The signing service: one method of this class for each method of the API, in whichever version the service speaks.

Names are those of version 2; what version 1 calls otherwise is renamed on the way.  Every method takes the token that
it is to show, and raises what `errors.py` lists: `ServiceRefusedError` and its kinds with the service's own words.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from requests.utils import parse_dict_header

from .algorithms import HASH_OIDS, Scheme
from .credential import Credential, parse_credential
from .discovery import ServiceInfo
from .documents import Document
from .errors import (
    NotUsableError,
    ProtocolError,
    ServiceRefusedError,
    StepUpRequiredError,
    TimedOutError,
    UsageError,
    refusal,
)
from .keys import DpopKey
from .transport import Reply, Transport, optional_text, text_of, texts_of

_MAX_PAGES: Final = 1000
_POLL_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Bearer:
    """An access token to show."""

    token: str = field(repr=False)
    bound: bool = False
    """To the service object's DPoP key."""


@dataclass(frozen=True, slots=True)
class Sad:
    """Signature activation data: the permission to sign what a person approved."""

    value: str = field(repr=False)
    is_token: bool
    """It came from the authorization server and is shown as a token itself; otherwise it goes with a service token."""
    bound: bool = False
    expires_in: int | None = None


@dataclass(frozen=True, slots=True)
class Handle:
    """The person approves elsewhere; to be asked about with `authorize_check`."""

    value: str = field(repr=False)


class Service:
    """A signing service, as its `info` describes it."""

    def __init__(self, transport: Transport, info: ServiceInfo, *, dpop: DpopKey | None = None) -> None:
        self._transport = transport
        self.info = info
        self._dpop = dpop

    def list_credentials(self, bearer: Bearer, *, user_id: str | None = None) -> list[str]:
        """`credentials/list`: identifiers, of all pages where version 1 has some."""
        found: list[str] = []
        body: dict[str, Any] = {} if user_id is None else {"userID": user_id}
        for _page in range(_MAX_PAGES):
            answer = self._ask("credentials/list", bearer, body)
            if not isinstance(answer.get("credentialIDs"), list):
                raise ProtocolError("credentials/list lacks credentialIDs")
            found += texts_of(answer, "credentialIDs")
            page = optional_text(answer, "nextPageToken")
            if page is None:
                return found
            body["pageToken"] = page
        raise ProtocolError("credentials/list has pages without end")

    def credential(self, bearer: Bearer, credential_id: str) -> Credential:
        """`credentials/info` with the chain, and how the credential is authorised."""
        body = {"credentialID": credential_id, "certificates": "chain", "certInfo": True, "authInfo": True}
        return parse_credential(credential_id, self._ask("credentials/info", bearer, body))

    def credentials(self, bearer: Bearer) -> list[Credential]:
        """All of a person's credentials, described."""
        return [self.credential(bearer, each) for each in self.list_credentials(bearer)]

    def authorize(
        self,
        bearer: Bearer,
        credential: Credential,
        digests: Sequence[bytes],
        hash_name: str,
        *,
        answers: Mapping[str, str] | None = None,
        description: str | None = None,
    ) -> Sad | Handle:
        """`credentials/authorize` (explicit mode).

        :param answers: to the credential's `objects`, by their `id`; without them the person approves elsewhere.
        :return: a `Handle` where the person approves elsewhere (202).
        """
        names = self.info.names
        body: dict[str, Any] = {
            "credentialID": credential.id,
            "numSignatures": len(digests),
            names.hashes: [_base64(item) for item in digests],
        }
        if names.answers:
            body["hashAlgorithmOID"] = HASH_OIDS[hash_name]
        if answers and names.answers:
            body["authData"] = [{"id": name, "value": value} for name, value in answers.items()]
        elif answers:
            body |= answers
        elif names.answers and (chosen := next((item.id for item in credential.objects if item.elsewhere), None)):
            body["authData"] = [{"id": chosen}]
        if description:
            body["description"] = description
        return self._authorised(self._call("credentials/authorize", bearer, body))

    def authorize_check(self, bearer: Bearer, handle: Handle) -> Sad | Handle:
        """`credentials/authorizeCheck`: whether the person has approved meanwhile."""
        return self._authorised(self._call("credentials/authorizeCheck", bearer, {"handle": handle.value}))

    def wait_for_approval(
        self,
        bearer: Bearer,
        handle: Handle,
        *,
        seconds: float = 300.0,
        pause: Callable[[float], None] = time.sleep,
    ) -> Sad:
        """Ask until the person has approved.

        :raises TimedOutError: not in that time.
        """
        until = time.monotonic() + seconds
        while True:
            found = self.authorize_check(bearer, handle)
            if isinstance(found, Sad):
                return found
            if time.monotonic() + _POLL_SECONDS > until:
                raise TimedOutError("nobody has approved yet")
            handle = found
            pause(_POLL_SECONDS)

    def send_challenge(self, bearer: Bearer, credential: Credential, object_id: str) -> str | None:
        """`credentials/getChallenge` (v2) or `credentials/sendOTP` (v1).

        :return: the challenge to show to the person; None where it was sent to them.
        """
        if not self.info.names.answers:
            self._call("credentials/sendOTP", bearer, {"credentialID": credential.id})
            return None
        body = {"credentialID": credential.id, "authObjectID": object_id}
        reply = self._call("credentials/getChallenge", bearer, body)
        return None if reply.status == 204 else text_of(reply.json(), "challenge", "credentials/getChallenge")

    def extend(self, bearer: Bearer | None, credential: Credential, sad: Sad) -> Sad:
        """`credentials/extendTransaction`: a SAD in the place of this one, which is worth nothing from then on."""
        shown, body = self._with_sad(bearer, sad, {"credentialID": credential.id}, "credentials/extendTransaction")
        found = self._authorised(self._call("credentials/extendTransaction", shown, body))
        if not isinstance(found, Sad):
            raise ProtocolError("credentials/extendTransaction gave no SAD")
        return Sad(found.value, sad.is_token, sad.bound, found.expires_in)

    def sign_hash(
        self, bearer: Bearer | None, sad: Sad, credential: Credential, digests: Sequence[bytes], scheme: Scheme
    ) -> list[bytes]:
        """`signatures/signHash`: one value for each digest, in the same order.  Not verified: see `algorithms.verify`.

        :param bearer: the service token; not needed with a SAD that is a token itself.
        """
        shown, body = self._sign_body(bearer, sad, credential, digests, scheme)
        return _values(self._ask("signatures/signHash", shown, body), len(digests))

    def begin_sign_hash(
        self,
        bearer: Bearer | None,
        sad: Sad,
        credential: Credential,
        digests: Sequence[bytes],
        scheme: Scheme,
        *,
        validity_seconds: int | None = None,
    ) -> str:
        """`signatures/signHash` that is carried out later (`operationMode` A).

        :return: `responseID`, for `poll`.
        :raises NotUsableError: the service does not work asynchronously.
        """
        if not self.info.asynchronous:
            raise NotUsableError("the service does not work asynchronously")
        shown, body = self._sign_body(bearer, sad, credential, digests, scheme)
        body["operationMode"] = "A"
        if validity_seconds is not None:
            body["validity_period"] = validity_seconds * 1000
        return text_of(self._ask("signatures/signHash", shown, body), "responseID", "signatures/signHash")

    def poll(self, bearer: Bearer, response_id: str, count: int) -> list[bytes] | None:
        """`signatures/signPolling`: the values, or None while they are being made."""
        reply = self._call("signatures/signPolling", bearer, {"requestID": response_id})
        return None if reply.status == 202 else _values(reply.json(), count)

    def wait_for_values(
        self,
        bearer: Bearer,
        response_id: str,
        count: int,
        *,
        seconds: float = 300.0,
        pause: Callable[[float], None] = time.sleep,
    ) -> list[bytes]:
        """Poll until the values are there.

        :raises TimedOutError: not in that time; they may be fetched later.
        """
        until = time.monotonic() + seconds
        while (values := self.poll(bearer, response_id, count)) is None:
            if time.monotonic() + _POLL_SECONDS > until:
                raise TimedOutError("the signatures are not ready yet")
            pause(_POLL_SECONDS)
        return values

    def sign_documents(
        self,
        bearer: Bearer | None,
        sad: Sad,
        credential: Credential,
        documents: Sequence[Document],
        scheme: Scheme,
    ) -> list[bytes]:
        """`signatures/signDoc`, which looks into the documents and builds what is signed.

        :return: for each document what came of it, in the same order: the signed PDF, or the CMS object.
        :raises UsageError: no documents, or of both formats: the answer has a list for either.
        """
        formats = {each.signature_format for each in documents}
        if len(formats) != 1:
            raise UsageError("documents of one format are signed in one request")
        body = {"credentialID": credential.id, "documents": [each.as_item(scheme) for each in documents]}
        shown, body = self._with_sad(bearer, sad, body, "signatures/signDoc")
        answer = self._ask("signatures/signDoc", shown, body)
        name = "SignatureObject"
        if "P" in formats and all(each.envelope != "Detached" for each in documents):
            name = "DocumentWithSignature"
        values = answer.get(name)
        if not isinstance(values, list) or len(values) != len(documents):
            raise ProtocolError("there is not one signature for each document")
        return [_octets(value, name) for value in values]

    def timestamp(self, bearer: Bearer, digest: bytes, hash_name: str, *, nonce: int | None = None) -> bytes:
        """`signatures/timestamp`: a DER TimeStampToken (RFC 3161) over a digest."""
        body = {"hash": _base64(digest), "hashAlgo": HASH_OIDS[hash_name]}
        if nonce is not None:
            body["nonce"] = f"{nonce:x}"
        answer = self._ask("signatures/timestamp", bearer, body)
        return _octets(text_of(answer, "timestamp", "signatures/timestamp"), "signatures/timestamp")

    def _sign_body(
        self, bearer: Bearer | None, sad: Sad, credential: Credential, digests: Sequence[bytes], scheme: Scheme
    ) -> tuple[Bearer, dict[str, Any]]:
        if not digests or any(len(item) != scheme.digest_size for item in digests):
            raise UsageError(
                f"digests of {scheme.hash_name} have {scheme.digest_size} octets, and there is at least one"
            )
        names = self.info.names
        body: dict[str, Any] = {
            "credentialID": credential.id,
            names.hashes: [_base64(item) for item in digests],
            names.hash_algorithm: scheme.hash_oid,
            "signAlgo": scheme.sign_algo,
        }
        if scheme.params_base64 is not None:
            body["signAlgoParams"] = scheme.params_base64
        return self._with_sad(bearer, sad, body, "signatures/signHash")

    def _with_sad(
        self, bearer: Bearer | None, sad: Sad, body: dict[str, Any], method: str
    ) -> tuple[Bearer, dict[str, Any]]:
        # A bound SAD is shown by itself, since a request carries one proof; version 1 knows the member only.
        if sad.is_token and (sad.bound or self.info.names.answers or bearer is None):
            return Bearer(sad.value, sad.bound), body
        if bearer is None:
            raise UsageError(f"{method} needs a service token beside this SAD")
        return bearer, {**body, "SAD": sad.value}

    def _authorised(self, reply: Reply) -> Sad | Handle:
        answer = reply.json()
        if reply.status == 202:
            return Handle(text_of(answer, "handle", "the answer"))
        expires = answer.get("expiresIn")
        return Sad(
            text_of(answer, "SAD", "the answer"),
            is_token=False,
            expires_in=expires if isinstance(expires, int) else None,
        )

    def _ask(self, method: str, bearer: Bearer, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._call(method, bearer, body).json()

    def _call(self, method: str, bearer: Bearer, body: Mapping[str, Any]) -> Reply:
        url = f"{self.info.base}/{method}"
        headers = {"Authorization": f"Bearer {bearer.token}"}
        if bearer.bound:
            if self._dpop is None:
                raise UsageError("the token is bound to a key that this service object does not have")
            proof = self._dpop.proof("POST", url, bearer.token)
            headers = {"Authorization": f"DPoP {bearer.token}", "DPoP": proof}
        reply = self._transport.post_json(url, body, headers)
        if reply.status not in (200, 202, 204):
            raise _refused(reply)
        return reply


def _refused(reply: Reply) -> ServiceRefusedError:
    answer = reply.json_or_nothing()
    error, description = optional_text(answer, "error") or "", optional_text(answer, "error_description") or ""
    if reply.status == 401 and error == "insufficient_user_authentication":
        return _step_up(description, reply.headers.get("WWW-Authenticate", ""))
    return refusal(reply.status, error, description, reply.retry_after)


def _step_up(description: str, challenge: str) -> StepUpRequiredError:
    """What the challenge asks for (RFC 9470 section 3)."""
    parameters = parse_dict_header(challenge.partition(" ")[2])  # type: ignore[no-untyped-call] # requests has none
    max_age = parameters.get("max_age") or ""
    return StepUpRequiredError(
        description,
        tuple((parameters.get("acr_values") or "").split()),
        int(max_age) if max_age.isascii() and max_age.isdecimal() else None,
    )


def _values(answer: Mapping[str, Any], count: int) -> list[bytes]:
    values = answer.get("signatures")
    if not isinstance(values, list) or len(values) != count:
        raise ProtocolError("there is not one value for each digest")
    return [_octets(value, "signatures") for value in values]


def _octets(value: object, where: str) -> bytes:
    try:
        if not isinstance(value, str):
            raise ValueError("no text")
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as e:
        raise ProtocolError(f"{where} has something that is not base64") from e


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")
