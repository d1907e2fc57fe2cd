"""A software authenticator and the browser in front of it: makes and uses passkeys, and lies where it is told to.

Speaks WebAuthn's structures as CTAP 2 does.  Every part of an answer can be overridden, so that a test changes one
thing and expects one refusal.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from webauthn.helpers import encode_cbor

from foundation.jose import decode_base64url, encode_base64url

AAGUID: Final = "6e96969e-a5cf-4aad-9b56-305fe6c82795"
"""Of the model with a root of its own."""
ALGORITHMS: Final = {"ES256": -7, "EdDSA": -8, "RS256": -257, "ES384": -35}
NOT_BEFORE, NOT_AFTER = datetime(2025, 1, 1, tzinfo=UTC), datetime(2035, 1, 1, tzinfo=UTC)
Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
_RSA: dict[int, rsa.RSAPrivateKey] = {}


def make_key(algorithm: str, bits: int = 2048) -> Private:
    """A private key for an algorithm; RSA keys are made once."""
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm == "RS256":
        return _RSA.setdefault(bits, rsa.generate_private_key(65537, bits))
    return ec.generate_private_key(ec.SECP384R1() if algorithm == "ES384" else ec.SECP256R1())


def cose(key: Private, algorithm: int) -> dict[int, Any]:
    """The public key as COSE_Key (RFC 9052 7)."""
    public = key.public_key()
    if isinstance(public, ec.EllipticCurvePublicKey):
        numbers, size = public.public_numbers(), (public.key_size + 7) // 8
        curve = {256: 1, 384: 2}[public.key_size]
        return {
            1: 2,
            3: algorithm,
            -1: curve,
            -2: numbers.x.to_bytes(size, "big"),
            -3: numbers.y.to_bytes(size, "big"),
        }
    if isinstance(public, rsa.RSAPublicKey):
        modulus = public.public_numbers().n
        return {1: 3, 3: algorithm, -1: modulus.to_bytes((modulus.bit_length() + 7) // 8, "big"), -2: b"\x01\x00\x01"}
    return {1: 1, 3: algorithm, -1: 6, -2: public.public_bytes_raw()}


def sign(key: Private, message: bytes) -> bytes:
    """Sign as the key's algorithm says."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(message, ec.ECDSA(hashes.SHA256()))


@dataclass
class Maker:
    """A maker of authenticators: a root, and attestation certificates for a model."""

    name: str = "Example Maker"
    aaguid: str = AAGUID
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    leaf_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        self.root = self._certificate(self.name, self.key, authority=True)

    def _certificate(
        self,
        common_name: str,
        key: ec.EllipticCurvePrivateKey,
        *,
        authority: bool,
        unit: str = "",
        aaguid: str | None = None,
    ) -> x509.Certificate:
        def name(text: str, unit: str = "") -> x509.Name:
            parts = [
                x509.NameAttribute(NameOID.COUNTRY_NAME, "ES"),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, self.name),
            ]
            if unit:
                parts.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit))
            return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, text)])

        builder = (
            x509.CertificateBuilder()
            .subject_name(name(common_name, unit))
            .issuer_name(name(self.name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOT_BEFORE)
            .not_valid_after(NOT_AFTER)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if aaguid is not None:
            oid = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")
            builder = builder.add_extension(
                x509.UnrecognizedExtension(oid, b"\x04\x10" + UUID(aaguid).bytes), critical=False
            )
        return builder.sign(self.key, hashes.SHA256())

    def leaf(
        self, *, unit: str = "Authenticator Attestation", aaguid: str | None = None, authority: bool = False
    ) -> bytes:
        """An attestation certificate in DER (WebAuthn 8.2.1)."""
        made = self._certificate("Batch 1", self.leaf_key, authority=authority, unit=unit, aaguid=aaguid or self.aaguid)
        return made.public_bytes(Encoding.DER)

    def metadata(self, description: str = "Example Key 5", status: str = "FIDO_CERTIFIED") -> bytes:
        """What an operator would configure: the payload of a metadata BLOB with this one model."""
        statement = {
            "description": description,
            "attestationRootCertificates": [base64.b64encode(self.root.public_bytes(Encoding.DER)).decode()],
        }
        entry = {"aaguid": self.aaguid, "metadataStatement": statement, "statusReports": [{"status": status}]}
        return json.dumps({"no": 1, "entries": [entry]}).encode()


@dataclass
class Credential:
    """One passkey in an authenticator."""

    id: bytes
    key: Private
    rp_id: str
    user_handle: bytes
    counter: int


@dataclass
class Authenticator:
    """A browser with one authenticator; what it says of itself can be changed between uses."""

    origin: str = "http://idp.localhost:8400"
    rp_id: str = "idp.localhost"
    algorithm: str = "ES256"
    attestation: Literal["none", "packed", "self", "fido-u2f"] = "none"
    maker: Maker | None = None
    aaguid: str = "00000000-0000-0000-0000-000000000000"
    user_present: bool = True
    user_verified: bool = True
    backup_eligible: bool = False
    backed_up: bool = False
    counts: bool = True
    step: int = 1
    transports: tuple[str, ...] = ("usb",)
    credentials: list[Credential] = field(default_factory=list)

    # What a browser does

    def create(self, options: Mapping[str, Any], **lies: Any) -> str:
        """``navigator.credentials.create()``: the answer as JSON.

        :param lies: ``type``, ``challenge``, ``origin`` and other members of the client data; ``key`` and
            ``credential_id``; ``algorithm`` as the key claims it; ``x5c``; ``statement``; ``auth_data``; ``form``.
        """
        key = lies.get("key") or make_key(self.algorithm)
        credential_id = lies.get("credential_id") or hashlib.sha256(repr(len(self.credentials)).encode() + encode_cbor(
            cose(key, ALGORITHMS[self.algorithm])
        )).digest()  # fmt: skip
        handle = decode_base64url(options["user"]["id"].encode())
        made = Credential(credential_id, key, self.rp_id, handle, 1 if self.counts else 0)
        self.credentials.append(made)
        public = encode_cbor(cose(key, lies.get("algorithm", ALGORITHMS[self.algorithm])))
        public = lies.get("public_key", public)
        held = UUID(self.aaguid).bytes + len(credential_id).to_bytes(2, "big") + credential_id + public
        auth_data = lies.get("auth_data") or self._data(made.counter, held)
        client_data = self._client("webauthn.create", options, lies)
        form, statement = self._statement(made, auth_data, client_data, lies)
        value = {"fmt": lies.get("form", form), "attStmt": lies.get("statement", statement), "authData": auth_data}
        response = {
            "clientDataJSON": encode_base64url(client_data),
            "attestationObject": encode_base64url(lies.get("attestation_object") or encode_cbor(value)),
            "transports": list(self.transports),
        }
        return self._answer(credential_id, response)

    def get(self, options: Mapping[str, Any], credential: Credential | None = None, **lies: Any) -> str:
        """``navigator.credentials.get()``: the answer as JSON.

        :param credential: the passkey to use; the newest one that is allowed where left out.
        :param lies: as for :meth:`create`; ``counter``, ``user_handle``, ``signature``, ``sign_with``.
        """
        allowed = {decode_base64url(item["id"].encode()) for item in options.get("allowCredentials", [])}
        fitting = [item for item in self.credentials if not allowed or item.id in allowed]
        used = credential or fitting[-1]
        if self.counts:
            used.counter += self.step
        auth_data = lies.get("auth_data") or self._data(lies.get("counter", used.counter))
        client_data = self._client("webauthn.get", options, lies)
        message = auth_data + hashlib.sha256(client_data).digest()
        signature = lies.get("signature") or sign(lies.get("sign_with") or used.key, message)
        handle = lies.get("user_handle", used.user_handle)
        response = {
            "clientDataJSON": encode_base64url(client_data),
            "authenticatorData": encode_base64url(auth_data),
            "signature": encode_base64url(signature),
            "userHandle": None if handle is None else encode_base64url(handle),
        }
        return self._answer(lies.get("credential_id", used.id), response)

    # How it is put together

    def _answer(self, credential_id: bytes, response: Mapping[str, Any]) -> str:
        text = encode_base64url(credential_id)
        return json.dumps(
            {
                "id": text,
                "rawId": text,
                "type": "public-key",
                "response": response,
                "clientExtensionResults": {},
                "authenticatorAttachment": "cross-platform",
            }
        )

    def _client(self, kind: str, options: Mapping[str, Any], lies: Mapping[str, Any]) -> bytes:
        data = {"type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": False}
        changed = {
            name: lies[name] for name in ("type", "challenge", "origin", "crossOrigin", "topOrigin") if name in lies
        }
        return json.dumps({**data, **changed}).encode()

    def _data(self, counter: int, held: bytes = b"") -> bytes:
        flags = (
            self.user_present * 0x01
            | self.user_verified * 0x04
            | self.backup_eligible * 0x08
            | self.backed_up * 0x10
            | (0x40 if held else 0)
        )
        return hashlib.sha256(self.rp_id.encode()).digest() + bytes([flags]) + counter.to_bytes(4, "big") + held

    def _statement(
        self, made: Credential, auth_data: bytes, client_data: bytes, lies: Mapping[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        message = auth_data + hashlib.sha256(client_data).digest()
        if self.attestation == "none":
            return "none", {}
        if self.attestation == "self":
            return "packed", {"alg": ALGORITHMS[self.algorithm], "sig": sign(made.key, message)}
        assert self.maker is not None
        leaf = lies.get("x5c") or [self.maker.leaf()]
        if self.attestation == "packed":
            return "packed", {"alg": -7, "sig": sign(self.maker.leaf_key, message), "x5c": leaf}
        public = made.key.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        numbers = public.public_numbers()
        point = b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
        u2f = b"\x00" + auth_data[:32] + hashlib.sha256(client_data).digest() + made.id + point
        return "fido-u2f", {"sig": sign(self.maker.leaf_key, u2f), "x5c": leaf}
