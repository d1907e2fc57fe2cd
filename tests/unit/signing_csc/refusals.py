"""Every refusal of the API, each with a request that is answered so: data for two tests.

``tests/unit/signing_csc/test_refusals.py`` makes the requests; ``tests/architecture/test_refusals.py`` sees that no
text of the code and none of the specifications is without one.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from connectors.ports.status import StatusUnavailable
from connectors.ports.tsa import TsaUnavailable
from contract.sad import encode
from foundation.certificates.reading import identity
from foundation.clock import epoch
from signing.jobs.errors import JobsUnavailable
from signing.link import codes
from signing.link.errors import LinkError, LinkRefused, LinkUnavailable
from signing.sam.algorithms import SignatureAlgorithm
from tests import hostile, pki
from tests.documents import blank_pdf, hand
from tests.fakes.status import FakeStatus
from tests.fakes.tsa import FakeTsa
from tests.unit.signing_csc.conftest import BASES, NOW, SAD_KEY, VIEW, Bench, certificate
from tests.unit.signing_csc.test_credentials import whole_sad

ACR: Final = "urn:x"
"""What the service demands of whoever reads, and what its tokens have."""
SHA256: Final = "2.16.840.1.101.3.4.2.1"
ECDSA: Final = "1.2.840.10045.4.3.2"
RSA: Final = "1.2.840.113549.1.1.1"
DOCUMENT: Final = b"document"
DIGEST: Final = base64.b64encode(hashlib.sha256(DOCUMENT).digest()).decode()
V2S: Final = ("v2", "v2_2")
ALL: Final = ("v1", *V2S)
TOKEN, OPTIONS, CHALLENGE, BACKCHANNEL = (
    f"/oauth2/{name}" for name in ("token", "activation-options", "activation-challenge", "bc-authorize")
)
ROOT: Final = pki.authority("Root", at=NOW)
ANA: Final = ROOT.issue(pki.Leaf(begin=NOW - timedelta(days=1), end=NOW + timedelta(days=300)))
OMIT: Final = object()
"""A member that the request does not have."""


def members(whole: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (whole | changes).items() if value is not OMIT}


@dataclass(frozen=True)
class Trial:
    """A deployment that offers everything, and the version in which it is asked."""

    bench: Bench
    tsa: FakeTsa
    status: FakeStatus
    version: str

    def post(self, method: str, body: object, token: str | None = None) -> Any:
        return self.bench.post(method, body, token or self.token(), self.version)

    def raw(self, method: str, verb: str = "POST", **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token()}", **options.pop("headers", {})}
        return self.bench.client.open(f"{BASES[self.version]}/{method}", method=verb, headers=headers, **options)

    def token(self, **claims: Any) -> str:
        return self.bench.service_token(**{"acr": ACR, "auth_time": epoch(NOW), **claims})

    def sad(self, **changes: Any) -> str:
        """Over the document, or over what one says."""
        made = whole_sad(
            self.bench, **{"dtbsr": (hashlib.sha256(DOCUMENT).digest(),), "hash_alg": SHA256, "acr": ACR, **changes}
        )
        return encode(made, SAD_KEY)

    def told(self, path: str, error: str, status: int = 400) -> None:
        """What the identity provider answers there."""
        self.bench.played.said[path] = (status, {"error": error})

    def refused(self, code: str) -> None:
        """What the module answers."""
        self.fails(LinkRefused(code))

    def fails(self, error: LinkError) -> None:
        self.bench.sam.refusal = error

    def credential(self, **changes: Any) -> None:
        self.bench.sam.views["cred-alice"] = replace(VIEW, **changes)

    def sign(self, code: str | None = None, /, **changes: Any) -> Any:
        """``signHash``; the module refuses with ``code``, if there is one."""
        if code is not None:
            self.refused(code)
        whole = {"credentialID": "cred-alice", "hashes": [DIGEST], "hashAlgorithmOID": SHA256, "signAlgo": ECDSA}
        return self.post("signatures/signHash", members({**whole, "SAD": self.sad()}, changes))

    def later(self, **changes: Any) -> Any:
        return self.sign(operationMode="A", **changes)

    def kept(self, **changes: Any) -> Any:
        """``signDoc`` of a digest: ``changes`` of its item."""
        return self.documents(documentDigests=[members(
            {"hashes": [DIGEST], "signature_format": "C", "signAlgo": ECDSA}, changes)])  # fmt: skip

    def pdf(self, **changes: Any) -> Any:
        """``signDoc`` of a PDF: ``changes`` of its item."""
        document = base64.b64encode(blank_pdf()).decode()
        return self.documents(documents=[members(
            {"document": document, "signature_format": "P", "signAlgo": ECDSA}, changes)])  # fmt: skip

    def stated(self, name: str) -> Any:
        return self.pdf(signed_props=[{"attribute_name": name, "attribute_value": "QQ=="}])

    def documents(self, **changes: Any) -> Any:
        whole = {"credentialID": "cred-alice", "SAD": self.sad(hash_type="sdr")}
        return self.post("signatures/signDoc", members(whole, changes))

    def ask(self, **changes: Any) -> Any:
        """``authorize``, out of band."""
        whole = {"credentialID": "cred-alice", "numSignatures": 1, "hashes": [DIGEST]}
        return self.post("credentials/authorize", members(whole, changes))

    def typed(self, error: str | None = None, scal: Any = "1") -> Any:
        """``authorize`` with answers: which the identity provider refuses, if an error is given."""
        self.credential(scal=scal)
        if error is not None:
            self.told(TOKEN, error)
        given = {"PIN": "p", "OTP": "1"} if self.version == "v1" else {"authData": [{"id": "password", "value": "p"}]}
        return self.ask(**given)

    def collect(self, error: str | None = None, handle: str = "A" * 43, status: int = 400) -> Any:
        if error is not None:
            self.told(TOKEN, error, status)
        return self.post("credentials/authorizeCheck", {"handle": handle})

    def challenge(self, error: str = "", status: int = 400) -> Any:
        self.credential(scal="1")
        self.told(CHALLENGE, error, status)
        return self.post("credentials/getChallenge", {"credentialID": "cred-alice", "authObjectID": "sms_otp"})

    def login(self, header: str | None = None, error: str = "access_denied", **body: Any) -> Any:
        self.told(TOKEN, error)
        headers = {} if header is None else {"Authorization": header}
        return self.bench.client.post(f"{BASES[self.version]}/auth/login", json=body, headers=headers)

    def poll(self, **changes: Any) -> Any:
        return self.post("signatures/signPolling", members({"requestID": "0" * 48}, changes))

    def stamp(self, **changes: Any) -> Any:
        return self.post("signatures/timestamp", members({"hash": DIGEST, "hashAlgo": SHA256}, changes))


def _poll_at_once(trial: Trial) -> Any:
    return trial.poll(requestID=trial.later().get_json()["responseID"])


def _without_module(trial: Trial) -> Any:
    trial.fails(LinkUnavailable("gone"))
    return trial.sign()


def _without_issuer(trial: Trial) -> Any:
    trial.told(BACKCHANNEL, "", 500)
    return trial.ask()


def _without_stamps(trial: Trial) -> Any:
    trial.tsa.failure = TsaUnavailable("gone")
    return trial.stamp()


def _without_jobs(trial: Trial) -> Any:
    rssp = trial.bench.client.application.extensions["privyseal-rssp"]

    class Gone:
        def fetch(self, *_arguments: object) -> None:
            raise JobsUnavailable("gone")

    object.__setattr__(rssp, "jobs", Gone())
    return trial.poll()


def _expired_certificate(trial: Trial) -> Any:
    trial.credential(certificates=(certificate(expired=True),))
    return trial.sign(codes.CERTIFICATE_EXPIRED)


def _expired_for_documents(trial: Trial) -> Any:
    trial.bench.sam.refused_documents = codes.CERTIFICATE_EXPIRED
    return trial.kept()


def _certificate(reason: x509.ReasonFlags) -> Callable[[Trial], Any]:
    """Her certificate is revoked for that reason."""

    def provoke(trial: Trial) -> Any:
        trial.credential(certificates=(ANA.der, ROOT.der))
        trial.status.revoked = {identity(ANA.certificate): reason}
        return trial.kept()

    return provoke


def _without_status(trial: Trial) -> Any:
    trial.credential(certificates=(ANA.der, ROOT.der))
    trial.status.failure = StatusUnavailable("gone")
    return trial.kept()


def _disabled(trial: Trial) -> Any:
    trial.credential(status="suspended")
    return trial.ask()


def _refused(path: str, error: str, ask: Callable[[Trial], Any], status: int = 400) -> Callable[[Trial], Any]:
    def provoke(trial: Trial) -> Any:
        trial.told(path, error, status)
        return ask(trial)

    return provoke


class _Interrupted(io.RawIOBase):
    """A connection that ends in the middle of a request."""

    def readinto(self, _room: object) -> int:
        raise OSError("the client is gone")


@dataclass(frozen=True)
class Case:
    """What is answered, and what to."""

    words: str
    """With the names of version 2."""
    provoke: Callable[[Trial], Any]
    status: int = 400
    error: str = "invalid_request"
    versions: tuple[str, ...] = ALL


def _signed_before(trial: Trial) -> Any:
    """A certification comes first (ISO 32000-2 12.8.1)."""
    signer = hand(ec.generate_private_key(ec.SECP256R1()), SignatureAlgorithm("ecdsa", SHA256))
    document = hostile.signed(blank_pdf(), signer)
    item = {"document": base64.b64encode(document).decode(), "signature_format": "P", "signAlgo": ECDSA}
    sad = trial.sad(hash_type="sdr", dtbsr=(hashlib.sha256(document).digest(),))
    return trial.documents(documents=[item], SAD=sad)


MISSING: Final = "Missing (or invalid type) string parameter {}"
INVALID: Final = "Invalid parameter {}"
DENIED: Final = "The user or Remote Service denied the request."
AWAY: Final = "temporarily_unavailable"

CASES: Final = (
    # Whoever asks
    Case("An access token is required", lambda t: t.bench.post("credentials/list", {}, None, t.version), 401,
         "invalid_token"),
    Case("The access token is not valid", lambda t: t.post("credentials/list", {}, t.token(scope="openid")), 401,
         "invalid_token"),
    Case("The access token is expired or has been revoked",
         lambda t: t.post("credentials/list", {}, t.token(exp=epoch(NOW))), 401, "expired_token"),
    Case("The DPoP proof is missing or not valid",
         lambda t: t.raw("credentials/list", json={}, headers={
             "Authorization": f"DPoP {t.token(cnf={'jkt': 'A' * 43})}"}), 401, "invalid_dpop_proof"),
    Case("Malformed authorization header",
         lambda t: t.raw("credentials/list", json={}, headers={"Authorization": "Basic eDp5"})),
    Case("A different authentication level is required",
         lambda t: t.post("credentials/list", {}, t.token(acr="urn:y")), 401, "insufficient_user_authentication"),
    Case("More recent authentication is required",
         lambda t: t.post("credentials/list", {}, t.token(auth_time=epoch(NOW) - 9999)), 401,
         "insufficient_user_authentication"),
    Case("Malformed authentication parameter", lambda t: t.login(), 401),
    Case("Malformed username-password", lambda t: t.login("Basic eA==")),
    Case("Invalid string parameter: refresh_token", lambda t: t.login(refresh_token="")),
    Case("Invalid refresh_token", lambda t: t.login(error="invalid_grant", refresh_token="x")),
    Case("An error occurred during authentication process", lambda t: t.login("Basic eDp5"), 400,
         "authentication_error"),
    # The request
    Case("The request must be of type application/json", lambda t: t.raw("info", data="x")),
    Case("The request is not a JSON object", lambda t: t.raw("info", json=[])),
    Case("The request is too large", lambda t: t.raw("info", json={"x": "y" * 300_000}), 413),
    Case("The request cannot be read", lambda t: t.raw("info", content_type="application/json", environ_overrides={
        "wsgi.input": _Interrupted(), "CONTENT_LENGTH": "9"})),
    Case("There is no such method", lambda t: t.raw("nonsense", json={}), 404),
    Case("There is no such method", lambda t: t.raw("info", "GET"), 405),
    Case("The method is not implemented by this service", lambda t: t.post("credentials/create", {}), 501),
    Case("Invalid parameter lang", lambda t: t.post("info", {"lang": "?"})),
    Case("Invalid parameter clientData", lambda t: t.post("info", {"clientData": "x" * 1025})),
    # Credentials
    Case(MISSING.format("credentialID"), lambda t: t.post("credentials/info", {})),
    Case(INVALID.format("credentialID"), lambda t: t.post("credentials/info", {"credentialID": "cred-bob"})),
    Case(INVALID.format("userID"), lambda t: t.post("credentials/list", {"userID": 7})),
    Case("userID parameter MUST be null", lambda t: t.post("credentials/list", {"userID": "bob"})),
    Case("The client is not authorized to name a user",
         lambda t: t.post("credentials/list", {"userID": "bob"}, t.token(sub="example-contracts")), 403,
         "unauthorized_client"),
    Case(INVALID.format("certificates"),
         lambda t: t.post("credentials/info", {"credentialID": "cred-alice", "certificates": "all"})),
    Case(INVALID.format("maxResults"), lambda t: t.post("credentials/list", {"maxResults": 0}), versions=("v1",)),
    Case(INVALID.format("pageToken"), lambda t: t.post("credentials/list", {"pageToken": "?"}), versions=("v1",)),
    # Authorisation
    Case("The credential identified by credentialID is disabled", _disabled),
    Case("Missing (or invalid type) integer parameter numSignatures", lambda t: t.ask(numSignatures="1")),
    Case("Invalid value for parameter numSignatures", lambda t: t.ask(numSignatures=2)),
    Case("Numbers of signatures is too high", lambda t: t.ask(numSignatures=101)),
    Case("Missing (or invalid type) array parameter hash", lambda t: t.ask(hashes=OMIT)),
    Case("Invalid parameter description", lambda t: t.ask(description="x" * 501)),
    Case("The client is not registered for approval out of band",
         _refused(BACKCHANNEL, "unauthorized_client", Trial.ask), 403, "unauthorized_client"),
    Case("Too many requests", _refused(BACKCHANNEL, "slow_down", Trial.ask, 429), 429, AWAY),
    Case("The authorization server cannot be reached", _without_issuer, 503, AWAY),
    Case("The handle has expired", lambda t: t.collect("expired_token")),
    Case(INVALID.format("handle"), lambda t: t.collect("invalid_grant")),
    Case(DENIED, lambda t: t.collect("access_denied", status=403), 403, "access_denied"),
    Case("The credential identified by credentialID is authorized with OAuth 2.0", lambda t: t.typed(scal="2")),
    Case("Missing (or invalid type) array parameter authData", lambda t: t.ask(authData="x"), versions=V2S),
    Case(INVALID.format("authData"), lambda t: t.ask(authData=[{"id": "password"}]), versions=V2S),
    Case("The authentication data is invalid", lambda t: t.typed("invalid_authentication_data"), 400,
         "invalid_authentication_data"),
    Case("Credential locked", lambda t: t.typed("pin_locked"), versions=V2S),
    Case("The PIN is invalid", lambda t: t.typed("invalid_pin"), 400, "invalid_pin", ("v1",)),
    Case("PIN locked", lambda t: t.typed("pin_locked"), 400, "invalid_pin", ("v1",)),
    Case("The OTP is invalid", lambda t: t.typed("invalid_otp"), 400, "invalid_otp", ("v1",)),
    Case("OTP locked", lambda t: t.typed("otp_locked"), 400, "invalid_otp", ("v1",)),
    Case(INVALID.format("PIN"), lambda t: t.ask(PIN=7), versions=("v1",)),
    Case(INVALID.format("OTP"), lambda t: t.ask(PIN="p", OTP=""), versions=("v1",)),
    Case("The next code cannot be sent yet", lambda t: t.challenge("", 429), 503, AWAY, V2S),
    Case(INVALID.format("authObjectID"), lambda t: t.challenge("invalid_request"), versions=V2S),
    # signHash
    Case(MISSING.format("SAD"), lambda t: t.sign(SAD=OMIT)),
    Case(INVALID.format("SAD"), lambda t: t.sign(codes.SAD_USED)),
    Case("SAD expired", lambda t: t.sign(codes.EXPIRED_SAD)),
    Case("Missing (or invalid type) array parameter hash", lambda t: t.sign(hashes="x")),
    Case(INVALID.format("hash"), lambda t: t.sign(hashes=[DIGEST] * 101)),
    Case("Empty hash array", lambda t: t.sign(hashes=[])),
    Case("Invalid Base64 hash string parameter", lambda t: t.sign(hashes=["?"])),
    Case("Invalid digest value length", lambda t: t.sign(hashes=["AAAA"])),
    Case("Hash is not authorized by the SAD", lambda t: t.sign(codes.HASH_NOT_AUTHORIZED)),
    Case(MISSING.format("signAlgo"), lambda t: t.sign(signAlgo=OMIT)),
    Case(INVALID.format("signAlgo"), lambda t: t.sign(codes.ALGORITHM_NOT_ALLOWED)),
    Case(MISSING.format("signAlgoParams"), lambda t: t.sign(signAlgo="1.2.840.113549.1.1.10")),
    Case(INVALID.format("signAlgoParams"), lambda t: t.sign(signAlgoParams="A" * 1025)),
    Case(MISSING.format("hashAlgorithmOID"), lambda t: t.sign(signAlgo=RSA, hashAlgorithmOID=OMIT)),
    Case(INVALID.format("hashAlgorithmOID"), lambda t: t.sign(hashAlgorithmOID="1.3.14.3.2.26")),
    Case("Signing certificate 'O=Example,CN=Alice Example' is expired", _expired_certificate),
    Case("The credential identified by credentialID is disabled", lambda t: t.sign(codes.CREDENTIAL_DISABLED)),
    Case("A parameter has a form or size that is not accepted", lambda t: t.sign(codes.BAD_REQUEST)),
    Case(INVALID.format("operationMode"), lambda t: t.sign(operationMode="B"), versions=V2S),
    Case(INVALID.format("validity_period"), lambda t: t.later(validity_period="x"), versions=V2S),
    Case("Out of bounds parameter validity_period", lambda t: t.later(validity_period=1), versions=V2S),
    Case(INVALID.format("response_uri"), lambda t: t.later(response_uri="https://evil.example/"), versions=V2S),
    Case("The service could not handle the request", lambda t: t.sign(codes.ROW_INTEGRITY), 500, "server_error"),
    Case("The signature activation module cannot be reached", _without_module, 503, AWAY),
    Case("The signature creation device is not available", lambda t: t.sign(codes.DEVICE_UNAVAILABLE), 503, AWAY),
    Case("The audit record cannot be written", lambda t: t.sign(codes.AUDIT_UNAVAILABLE), 503, AWAY),
    Case("The ledger has to be restored", lambda t: t.sign(codes.LEDGER_SET_BACK), 503, AWAY),
    Case("The service is busy", lambda t: t.sign(codes.BUSY), 503, AWAY),
    Case("The outcome is not known; the authorization is spent", lambda t: t.sign(codes.INDETERMINATE), 503, AWAY),
    # signPolling
    Case("The previous async request has been accepted but not yet completed", _poll_at_once, 202, "accepted_request",
         V2S),
    Case(MISSING.format("requestID"), lambda t: t.poll(requestID=OMIT), versions=V2S),
    Case(INVALID.format("requestID"), lambda t: t.poll(), versions=V2S),
    Case("userID parameter SHALL be null", lambda t: t.poll(userID="alice"), versions=V2S),
    Case("Asynchronous requests cannot be taken in or fetched now", _without_jobs, 503, AWAY, V2S),
    # signDoc
    Case("Empty documentDigests and documents objects", lambda t: t.documents(), versions=V2S),
    Case("Both documentDigests and documents parameters passed",
         lambda t: t.documents(documents=[{}], documentDigests=[{}]), versions=V2S),
    Case("Invalid object parameter documentDigests", lambda t: t.documents(documentDigests="x"), versions=V2S),
    Case("Invalid array parameter documents", lambda t: t.documents(documents="x"), versions=V2S),
    Case("Invalid Base64 hashes string parameter", lambda t: t.kept(hashes=["?"]), versions=V2S),
    Case("Invalid Base64 documents string parameter", lambda t: t.pdf(document="?"), versions=V2S),
    Case("Invalid digest value length", lambda t: t.kept(hashes=["AAAA"]), versions=V2S),
    Case("documentDigests or documents are not authorized by the SAD",
         lambda t: t.documents(SAD=t.sad(), documentDigests=[
             {"hashes": [DIGEST], "signature_format": "C", "signAlgo": ECDSA}]), versions=V2S),
    Case("Document or documentDigest does not match authorized hash", lambda t: t.pdf(), 403, "invalid_hash", V2S),
    Case(MISSING.format("signAlgo"), lambda t: t.kept(signAlgo=OMIT), versions=V2S),
    Case(INVALID.format("signAlgo"), lambda t: t.kept(signAlgo="ecdsa"), versions=V2S),
    Case("String parameter hashAlgorithmOID contradicts with signAlgo parameter",
         lambda t: t.kept(hashAlgorithmOID="2.16.840.1.101.3.4.2.3"), versions=V2S),
    Case(MISSING.format("signature_format"), lambda t: t.pdf(signature_format=OMIT), versions=V2S),
    Case(INVALID.format("signature_format"), lambda t: t.pdf(signature_format="Q"), versions=V2S),
    Case(INVALID.format("conformance_level"), lambda t: t.pdf(conformance_level="Ades-Z"), versions=V2S),
    Case(INVALID.format("signed_envelope_property"), lambda t: t.pdf(signed_envelope_property="Attached"),
         versions=V2S),
    Case("Invalid parameter signed_props (SignerRoleV2)", lambda t: t.stated("SignerRoleV2"), versions=V2S),
    Case(INVALID.format("signed_props"), lambda t: t.stated("<script>"), versions=V2S),
    Case("A document cannot be signed in the requested format: the document is not a PDF",
         lambda t: t.pdf(document=base64.b64encode(DOCUMENT).decode()), versions=V2S),
    Case("A document cannot be signed in the requested format", _signed_before, versions=V2S),
    Case("Signing certificate is expired", _expired_for_documents, versions=V2S),
    Case("Signing certificate is revoked", _certificate(x509.ReasonFlags.key_compromise), versions=V2S),
    Case("Signing certificate is suspended", _certificate(x509.ReasonFlags.certificate_hold), versions=V2S),
    Case("The status of the signing certificate cannot be told", _without_status, 503, AWAY, V2S),
    # timestamp
    Case(MISSING.format("hash"), lambda t: t.stamp(hash=OMIT)),
    Case("Empty hash parameter", lambda t: t.stamp(hash="")),
    Case("Invalid Base64 hash string parameter", lambda t: t.stamp(hash="?")),
    Case("Invalid digest value length", lambda t: t.stamp(hash="AAAA")),
    Case(INVALID.format("hashAlgo"), lambda t: t.stamp(hashAlgo="1.2.3")),
    Case(INVALID.format("nonce"), lambda t: t.stamp(nonce="x")),
    Case("No time-stamping authority is available", _without_stamps, 503, AWAY),
)  # fmt: skip

ELSEWHERE: Final = {
    "The certification authority cannot be reached":
        "tests/integration/test_csc_creation.py: it takes an order, a module that carries it out and an authority",
    "No revocation data is available that is fresh enough":
        "tests/unit/signing_csc/test_document_assembly.py: it takes a signature that was stamped",
}  # fmt: skip
"""Refusals that take more than this deployment, each with the file of the test that provokes it, and why."""
