"""Makes the vectors of operators' operations, with fixed keys: ``python -m tests.vectors.operation.make``.

``operators.json`` has the enrolled operators' public keys; ``valid/`` and ``invalid/`` have a file a vector: the
bundle, the reason, and what a verifier finds.  ECDSA signatures differ from run to run; everything else is fixed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc.jwk import ECKey, OKPKey

from contract import operation as operations
from contract.operation import MAX_OPERATION_OCTETS, OPERATION_TYPE, Operation
from foundation.jose import SigningKey, encode_base64url, export_signing_key, sign_payload
from tests.vectors.sad.make import FOREIGN, PINNED

HERE = Path(__file__).parent
IAT = 1_772_366_400
# Keys of vectors, published with them: whoever trusts them anywhere else has not read this line.
EDWARDS = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
}
"""RFC 8037 appendix A.1."""


def ec_key(jwk: Mapping[str, str]) -> SigningKey:
    """A key under its thumbprint."""
    key = ECKey.import_key(dict(jwk))
    return SigningKey(key.thumbprint(), "ES256", key)


ONE = ec_key(PINNED)
TWO = SigningKey(OKPKey.import_key(dict(EDWARDS)).thumbprint(), "Ed25519", OKPKey.import_key(dict(EDWARDS)))
STRANGER = ec_key(FOREIGN)
OPERATION = Operation(
    aud="urn:privyseal:sam:example",
    operation="credential.delete",
    parameters={"credential_id": "credential-1"},
    jti="jti-1",
    iat=IAT,
    exp=IAT + 600,
)
CLAIMS = {name: getattr(OPERATION, name) for name in ("aud", "operation", "parameters", "jti", "iat", "exp")}


def encoded(value: Any) -> bytes:
    """JSON without our own encoder's checks."""
    return json.dumps(value, separators=(",", ":")).encode()


def part(payload: bytes, key: SigningKey, header: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A signature over a payload, under any header."""
    if header is None:
        protected, _payload, signature = sign_payload(payload, key, OPERATION_TYPE).split(".")
        return {"protected": protected, "signature": signature}
    head = encode_base64url(encoded(header))
    signing_input = f"{head}.{encode_base64url(payload)}".encode()
    private = load_pem_private_key(export_signing_key(key), None)
    assert isinstance(private, EllipticCurvePrivateKey)
    r, s = decode_dss_signature(private.sign(signing_input, ECDSA(SHA256())))
    return {"protected": head, "signature": encode_base64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))}


def bundle(payload: bytes, *parts: Mapping[str, Any], **more: Any) -> str:
    """A bundle of any parts."""
    return json.dumps({"payload": encode_base64url(payload), "signatures": list(parts), **more})


def valid() -> Iterator[tuple[str, str, str, int]]:
    """Name, reason, bundle, how many operators."""
    one = operations.sign(OPERATION, ONE)
    yield "one-operator", "one signature, ES256", one, 1
    yield "two-operators", "two signatures, ES256 and Ed25519", operations.add_signature(one, TWO), 2
    yield "more-than-needed", "two have signed where one suffices", operations.add_signature(one, TWO), 1
    empty = replace(OPERATION, operation="ledger.restore", parameters={})
    yield "no-parameters", "an operation without parameters", operations.sign(empty, TWO), 1


def changed(**changes: Any) -> str:
    """Signed, with members of other values."""
    payload = encoded({**CLAIMS, **changes})
    return bundle(payload, part(payload, ONE))


def invalid() -> Iterator[tuple[str, str, str, int]]:
    """Name, reason, bundle, how many operators."""
    for name in CLAIMS:
        payload = encoded({key: value for key, value in CLAIMS.items() if key != name})
        yield f"missing-{name}", f"every member is required: {name} is missing", bundle(payload, part(payload, ONE)), 1
    for name, reason, changes in _claims():
        yield name, reason, changed(**changes), 1
    yield from _signers()
    yield from _headers()
    yield from _forms()


def _claims() -> Iterator[tuple[str, str, dict[str, Any]]]:
    yield "unknown-claim", "a member that nobody checks", {"extra": 1}
    yield "iss", "an issuer: the signatures say who", {"iss": "https://idp.example.org"}
    yield "aud-list", "several audiences", {"aud": [OPERATION.aud]}
    yield "operation-undotted", "no dotted name", {"operation": "delete"}
    yield "operation-control", "a name with a line end", {"operation": "credential.delete\n"}
    yield "parameters-list", "parameters that are a list", {"parameters": []}
    yield "jti-empty", "no identifier", {"jti": ""}
    yield "exp-before-iat", "expires before it is issued", {"exp": IAT}
    yield "exp-text", "a time that is a text", {"exp": str(IAT + 600)}
    yield "iat-fraction", "a time with a fraction", {"iat": IAT + 0.5}


def _signers() -> Iterator[tuple[str, str, str, int]]:
    payload = encoded(CLAIMS)
    one, two, stranger = (part(payload, key) for key in (ONE, TWO, STRANGER))
    yield "too-few", "ADM-01: one operator where it takes two", bundle(payload, one), 2
    yield "same-key-twice", "ADM-01: the same operator twice", bundle(payload, one, part(payload, ONE)), 2
    yield "same-signature-twice", "ADM-01: the same signature twice", bundle(payload, one, one), 1
    yield "stranger", "a key that is no operator's", bundle(payload, stranger), 1
    yield "stranger-besides", "a stranger beside two operators", bundle(payload, one, two, stranger), 2
    other = encoded({**CLAIMS, "parameters": {"credential_id": "credential-2"}})
    yield "altered", "ADM-02: another payload under the same signatures", bundle(other, one, two), 2
    yield "one-altered", "one of two signed something else", bundle(payload, one, part(other, TWO)), 2
    yield "nobody", "no signature", bundle(payload), 1
    yield "nine", "more signatures than are verified", bundle(payload, *[stranger] * 9), 1
    named = {"alg": "ES256", "typ": OPERATION_TYPE, "kid": TWO.kid}
    yield "other-name", "ADM-01: a second signature by the first key under the second's name", bundle(
        payload, one, part(payload, ONE, named)
    ), 2  # fmt: skip


def _headers() -> Iterator[tuple[str, str, str, int]]:
    payload = encoded(CLAIMS)
    head = {"alg": "ES256", "typ": OPERATION_TYPE, "kid": ONE.kid}
    for typ in ("order+jwt", "sad+jwt", "JOSE", None):
        header = {key: value for key, value in {**head, "typ": typ}.items() if value is not None}
        name = "none" if typ is None else typ.replace("+", "-").lower()
        yield f"typ-{name}", "another type of object", bundle(payload, part(payload, ONE, header)), 1
    for member in ("crit", "jwk", "jku", "b64", "x5c"):
        more: dict[str, Any] = {**head, member: ["exp"] if member == "crit" else "x"}
        yield f"header-{member}", f"a header member {member}", bundle(payload, part(payload, ONE, more)), 1
    without = {key: value for key, value in head.items() if key != "kid"}
    yield "kid-missing", "the key is not named", bundle(payload, part(payload, ONE, without)), 1
    yield "kid-other", "a name that is no thumbprint", bundle(payload, part(payload, ONE, {**head, "kid": "one"})), 1
    hs256 = {**part(payload, ONE), "protected": encode_base64url(encoded({**head, "alg": "HS256"}))}
    yield "alg-hs256", "HMAC", bundle(payload, hs256), 1
    none = {"protected": encode_base64url(encoded({**head, "alg": "none"})), "signature": ""}
    yield "alg-none", "no signature", bundle(payload, none), 1
    yield "unprotected", "an unprotected header", bundle(payload, {**part(payload, ONE), "header": {}}), 1


def _forms() -> Iterator[tuple[str, str, str, int]]:
    payload = encoded(CLAIMS)
    one = part(payload, ONE)
    right = bundle(payload, one)
    yield "unknown-member", "a member of the bundle that nobody reads", bundle(payload, one, more=1), 1
    yield "flattened", "the Flattened Serialization", json.dumps({"payload": encode_base64url(payload), **one}), 1
    yield "compact", "the Compact Serialization", sign_payload(payload, ONE, OPERATION_TYPE), 1
    yield "trailing", "something after the bundle", right + "{}", 1
    duplicate = right[:-1] + f', "payload": "{encode_base64url(payload)}"}}'
    yield "duplicate-member", "a member twice", duplicate, 1
    twice = payload[:-1] + b',"jti":"jti-2"}'
    yield "duplicate-claim", "a claim twice", bundle(twice, part(twice, ONE)), 1
    yield "not-json", "a payload that is not JSON", bundle(b"{", part(b"{", ONE)), 1
    yield "padding", "base64url with padding", bundle(payload, {**one, "signature": one["signature"] + "=="}), 1
    yield "payload-number", "a payload that is a number", json.dumps({"payload": 1, "signatures": [one]}), 1
    yield "signatures-object", "signatures that are no list", json.dumps({"payload": "e30", "signatures": one}), 1
    yield "signature-text", "a signature that is a text", bundle(payload, "one"), 1  # type: ignore[arg-type] # wrong on purpose
    yield "not-ascii", "a character that is not ASCII", bundle(payload, {**one, "signature": "\u00e9"}), 1
    yield "too-long", "longer than an operation may be", right + " " * MAX_OPERATION_OCTETS, 1
    yield "empty", "nothing", "", 1


def main() -> None:
    """Write all files anew."""
    for folder in ("valid", "invalid"):
        (HERE / folder).mkdir(exist_ok=True)
        for old in (HERE / folder).glob("*.json"):
            old.unlink()
    _write(HERE / "operators.json", {"keys": [key.verification_key().as_jwk() for key in (ONE, TWO)]})
    for name, reason, made, needed in valid():
        found = operations.peek(made)
        content = {"claims": {member: getattr(found, member) for member in CLAIMS}, "signers": list(found.signers)}
        _write(HERE / "valid" / f"{name}.json", {"reason": reason, "needed": needed, "bundle": made, **content})
    for name, reason, made, needed in invalid():
        _write(HERE / "invalid" / f"{name}.json", {"reason": reason, "needed": needed, "bundle": made})


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
