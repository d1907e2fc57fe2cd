"""Makes the SAD vectors, with fixed keys: ``python -m tests.vectors.sad.make``.

``keys.json`` has the pinned public keys; ``valid/`` and ``invalid/`` have a file a vector: the token, the reason, and
what a decoder finds.  The signatures differ from run to run (ECDSA is randomised); everything else is fixed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey

from contract import sad as sads
from contract.confirmation import Confirmation
from contract.sad import EvidenceClaim, PolicyClaim, Sad, Succession
from foundation.jose import SigningKey, encode_base64url

HERE = Path(__file__).parent
# Keys of vectors, published with them: whoever trusts them anywhere else has not read this line.
PINNED = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
}
"""RFC 7515 appendix A.3."""
FOREIGN = {
    "kty": "EC",
    "crv": "P-256",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    "d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE",
}
"""RFC 7517 appendix A.2."""
IAT = 1_772_366_400


def signing_key(jwk: Mapping[str, str], kid: str) -> SigningKey:
    """A key under a name."""
    return SigningKey(kid, "ES256", ECKey.import_key(dict(jwk)))


KEY = signing_key(PINNED, "activation-1")


def digest(text: str) -> bytes:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).digest()


SAD = Sad(
    iss="https://idp.example.org",
    aud="urn:privyseal:sam:example",
    sub="account-1",
    client_id="example-contracts",
    txn="txn-1",
    jti="jti-1",
    iat=IAT,
    exp=IAT + 300,
    credential_id="credential-1",
    hash_alg="2.16.840.1.101.3.4.2.1",
    dtbsr=(digest("one"), digest("two")),
    hash_type="dtbsr",
    sign_count=2,
    acr="urn:example:acr:substantial",
    loa="substantial",
    amr=("pwd", "sms"),
    auth_time=IAT - 60,
    evidence=(
        EvidenceClaim("password", "knowledge", IAT - 60, "authenticator-1", False, False, False, False),
        EvidenceClaim("sms_otp", "possession", IAT - 5, "authenticator-2", False, False, True, True),
    ),
    policy=PolicyClaim("default", hashlib.sha256(b"policy").hexdigest(), "decision-1"),
)
CLAIMS = sads._to_claims(SAD)
THUMBPRINT = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
"""RFC 9449 figure 12."""
REPLACED = {"since": IAT, "jti": ["jti-0"]}


def valid() -> Iterator[tuple[str, str, Sad]]:
    """Name, reason, content."""
    yield "two-digests", "every claim, two digests", SAD
    yield "repeated-digest", "a digest twice is two positions", replace(SAD, dtbsr=(digest("one"),) * 2)
    yield "scal1-without-digests", "no digests, at SCAL1", replace(SAD, dtbsr=(), sign_count=3)
    hundred = tuple(digest(str(number)) for number in range(100))
    yield "hundred-digests", "as many as one SAD takes", replace(SAD, dtbsr=hundred, sign_count=100)
    sha512 = (hashlib.sha512(b"one").digest(),)
    yield (
        "sha512",
        "digests of another hash function have its length",
        replace(SAD, hash_alg="2.16.840.1.101.3.4.2.3", dtbsr=sha512, sign_count=1),
    )
    yield "document-digests", "digests of documents", replace(SAD, hash_type="sdr")
    yield "cnf-jkt", "bound to a DPoP key", replace(SAD, cnf=Confirmation("jkt", THUMBPRINT))
    yield "cnf-x5t-s256", "bound to a TLS certificate", replace(SAD, cnf=Confirmation("x5t#S256", THUMBPRINT))
    yield "reserved-signer-proof", "carried; refused later", replace(SAD, signer_proof={"kind": "webauthn"})
    later = replace(SAD, jti="jti-3", iat=IAT + 200, exp=IAT + 500)
    chain = Succession(IAT, ("jti-1", "jti-2"))
    yield "supersedes", "takes the place of two", replace(later, supersedes=chain)
    at_once = Succession(IAT, ("jti-0",))
    yield "in-band", "the secrets came through the signing service", replace(SAD, in_band=True)
    yield "in-band-scal1", "the same, without digests", replace(SAD, dtbsr=(), sign_count=3, in_band=True)
    yield "supersedes-at-once", "issued in the second of the first one", replace(SAD, supersedes=at_once)


def signed(claims: Mapping[str, Any] | bytes, header: Mapping[str, Any] | None = None, key: SigningKey = KEY) -> str:
    """A compact JWS without any of the checks of our own encoder."""
    head = {"alg": "ES256", "typ": "sad+jwt", "kid": key.kid} if header is None else dict(header)
    payload = claims if isinstance(claims, bytes) else json.dumps(claims, separators=(",", ":")).encode()
    registry = jws.JWSRegistry(algorithms=["ES256", "HS256"], strict_check_header=False)
    return jws.serialize_compact(head, payload, key.key, registry=registry)


def without(name: str) -> dict[str, Any]:
    """All claims but one."""
    return {key: value for key, value in CLAIMS.items() if key != name}


def changed(**changes: Any) -> str:
    """Signed, with claims of other values."""
    return signed({**CLAIMS, **changes})


def evidence(**changes: Any) -> str:
    """Signed, with other evidence."""
    return changed(evidence=[{**CLAIMS["evidence"][0], **changes}])


def unsigned(header: Mapping[str, Any], signature: bytes = b"") -> str:
    """Header and claims under whatever signature."""
    parts = [json.dumps(part, separators=(",", ":")).encode() for part in (header, CLAIMS)]
    return ".".join([*(encode_base64url(part) for part in parts), encode_base64url(signature)])


def invalid() -> Iterator[tuple[str, str, str]]:
    """Name, reason, token."""
    right = signed(CLAIMS)
    head, payload, signature = right.split(".")
    for name in CLAIMS:
        yield f"missing-{name}", f"every claim is required: {name} is missing", signed(without(name))
    yield "unknown-claim", "a claim that nobody checks", changed(extra=1)
    yield from _forged(right, head, payload, signature)
    yield from _claims()


def _forged(right: str, head: str, payload: str, signature: str) -> Iterator[tuple[str, str, str]]:
    yield "alg-none", "SAD-07: no signature", unsigned({"alg": "none", "typ": "sad+jwt", "kid": KEY.kid})
    public = json.dumps(KEY.key.as_dict(private=False)).encode()
    hs256 = unsigned({"alg": "HS256", "typ": "sad+jwt", "kid": KEY.kid})
    mac = hmac.digest(public, hs256.rsplit(".", 1)[0].encode(), "sha256")
    header = {"alg": "HS256", "typ": "sad+jwt", "kid": KEY.kid}
    yield "alg-hs256", "SAD-07: HMAC with the public key as its secret", unsigned(header, mac)
    foreign = signing_key(FOREIGN, KEY.kid)
    yield "foreign-key", "SAD-07: another key under the pinned kid", signed(CLAIMS, key=foreign)
    yield "unknown-kid", "SAD-07: a kid that is not pinned", signed(CLAIMS, key=signing_key(FOREIGN, "activation-2"))
    members: dict[str, Any] = {
        "jku": "https://evil.example.org/jwks",
        "jwk": foreign.key.as_dict(private=False),
        "x5u": "https://evil.example.org/chain",
        "x5c": ["AAAA"],
        "crit": ["exp"],
        "b64": False,
    }
    for member, value in members.items():
        more = {"alg": "ES256", "typ": "sad+jwt", "kid": KEY.kid, member: value}
        encoded = encode_base64url(json.dumps(more).encode())
        yield f"header-{member}", f"SAD-07: header member {member}", f"{encoded}.{payload}.{signature}"
    for typ in ("at+jwt", "JWT", "order+jwt", "sad", None):
        header = {"alg": "ES256", "kid": KEY.kid} | ({} if typ is None else {"typ": typ})
        name = "typ-missing" if typ is None else f"typ-{typ.replace('+', '-').lower()}"
        yield name, "SAD-07: a token of another type", signed(CLAIMS, header)
    yield "kid-missing", "the key is not named", signed(CLAIMS, {"alg": "ES256", "typ": "sad+jwt"})
    yield "kid-path", "JOS-03: a kid that is a path", signed(CLAIMS, {"alg": "ES256", "typ": "sad+jwt", "kid": "../x"})
    yield "signature-altered", "one bit of the signature", f"{head}.{payload}.{_flip(signature)}"
    other = encode_base64url(json.dumps({**CLAIMS, "sub": "account-2"}, separators=(",", ":")).encode())
    yield "payload-altered", "claims of another person under the same signature", f"{head}.{other}.{signature}"
    yield "two-segments", "no signature segment", f"{head}.{payload}"
    yield "five-segments", "a JWE", f"{right}.AAAA.AAAA"
    yield "padding", "base64url with padding", f"{head}.{payload}.{signature}=="
    yield "not-canonical", "base64url with bits left over", f"{head}.{payload}.{_not_canonical(signature)}"
    yield "not-ascii", "a character that is not ASCII", f"{right}\u00e9"
    yield "too-long", "JOS-02: longer than a token may be", right + "A" * 24_576
    yield "empty", "nothing", ""


def _claims() -> Iterator[tuple[str, str, str]]:
    duplicate = json.dumps(CLAIMS)[:-1] + ', "sub": "account-2"}'
    yield "duplicate-claim", "a claim twice: two parsers, two meanings", signed(duplicate.encode())
    yield "not-an-object", "claims that are a list", signed(b"[]")
    yield "not-json", "claims that are not JSON", signed(b"{")
    yield "nan", "a number that JSON does not have", signed(json.dumps({**CLAIMS, "iat": float("nan")}).encode())
    one = base64.urlsafe_b64encode(digest("one")).decode().rstrip("=")
    for name, reason, changes in (
        ("exp-before-iat", "expires before it is issued", {"exp": IAT}),
        ("exp-text", "a time that is a text", {"exp": str(IAT + 300)}),
        ("exp-fraction", "a time with a fraction", {"exp": IAT + 300.5}),
        ("exp-boolean", "a time that is a truth", {"exp": True}),
        ("exp-huge", "a time beyond the year 9999", {"exp": 10**12}),
        ("iat-negative", "a time before 1970", {"iat": -1}),
        ("auth-time-after-iat", "authentication after the issue", {"auth_time": IAT + 1}),
        ("sub-empty", "nobody", {"sub": ""}),
        ("aud-list", "several audiences", {"aud": [SAD.aud]}),
        ("sub-long", "longer than an account id may be", {"sub": "x" * 256}),
        ("hash-alg-sha1", "SIG-08: SHA-1", {"hash_alg": "1.3.14.3.2.26"}),
        ("hash-alg-unknown", "a hash function nobody knows", {"hash_alg": "1.2.3"}),
        ("digest-short", "shorter than the hash function's", {"dtbsr": [one[:-2]], "sign_count": 1}),
        ("digest-long", "longer than the hash function's", {"dtbsr": [one + "AAAA"], "sign_count": 1}),
        ("digest-hex", "not base64url", {"dtbsr": ["zz=="], "sign_count": 1}),
        ("digest-number", "a digest that is a number", {"dtbsr": [1], "sign_count": 1}),
        ("digests-text", "digests that are one text", {"dtbsr": one}),
        ("digests-101", "more than one SAD takes", {"dtbsr": [one] * 101, "sign_count": 101}),
        ("sign-count-more", "SAD-10: more signatures than digests", {"sign_count": 3}),
        ("sign-count-less", "fewer signatures than digests", {"sign_count": 1}),
        ("sign-count-zero", "no signature", {"sign_count": 0, "dtbsr": []}),
        ("hash-type-unknown", "digests of what nobody knows", {"hash_type": "sodr"}),
        ("loa-unknown", "a level that does not exist", {"loa": "very-high"}),
        ("amr-text", "methods that are one text", {"amr": "pwd"}),
        ("amr-long", "more methods than there are", {"amr": ["pwd"] * 17}),
        ("evidence-empty", "no evidence at all", {"evidence": []}),
        ("evidence-object", "evidence that is no list", {"evidence": {}}),
        ("evidence-text", "evidence that is a text", {"evidence": ["password"]}),
        ("policy-text", "a policy that is a text", {"policy": "default"}),
        ("policy-sha256", "a digest that is none", {"policy": {**CLAIMS["policy"], "sha256": "x" * 64}}),
        ("policy-unknown-member", "a member nobody checks", {"policy": {**CLAIMS["policy"], "more": 1}}),
        ("cnf-text", "a binding that is a text", {"cnf": "thumbprint"}),
        ("cnf-empty", "SAD-14: a binding to nothing", {"cnf": {}}),
        ("cnf-two", "SAD-14: two bindings", {"cnf": {"jkt": THUMBPRINT, "x5t#S256": THUMBPRINT}}),
        ("cnf-kid", "SAD-14: a binding by another method", {"cnf": {"kid": THUMBPRINT}}),
        ("cnf-short", "SAD-14: no SHA-256 thumbprint", {"cnf": {"jkt": THUMBPRINT[:-1]}}),
        ("cnf-not-canonical", "SAD-14: bits left over", {"cnf": {"jkt": THUMBPRINT[:-1] + "J"}}),
        ("cnf-number", "SAD-14: a thumbprint that is a number", {"cnf": {"jkt": 1}}),
        ("in-band-false", "said twice over that it is not", {"in_band": False}),
        ("in-band-number", "a truth that is a number", {"in_band": 1}),
        ("in-band-text", "a truth that is a text", {"in_band": "true"}),
        ("in-band-null", "a truth that is nothing", {"in_band": None}),
        ("in-band-proof", "a device's proof in band", {"in_band": True, "signer_proof": {"kind": "webauthn"}}),
        ("supersedes-text", "predecessors that are a text", {"supersedes": "jti-0"}),
        ("supersedes-empty", "none replaced", {"supersedes": {**REPLACED, "jti": []}}),
        ("supersedes-itself", "in its own place", {"supersedes": {**REPLACED, "jti": ["jti-1"]}}),
        ("supersedes-twice", "one replaced twice", {"supersedes": {**REPLACED, "jti": ["jti-0", "jti-0"]}}),
        ("supersedes-17", "too many", {"supersedes": {**REPLACED, "jti": [f"jti-{n}" for n in range(50, 67)]}}),
        ("supersedes-no-time", "not said since when", {"supersedes": {"jti": ["jti-0"]}}),
        ("supersedes-future", "since after its own issue", {"supersedes": {**REPLACED, "since": IAT + 1}}),
        ("supersedes-older", "since before the evidence", {"supersedes": {**REPLACED, "since": IAT - 6}}),
        ("supersedes-more", "a member nobody checks", {"supersedes": {**REPLACED, "more": 1}}),
        (
            "supersedes-scal1",
            "without digests there is no allowance to share",
            {"supersedes": REPLACED, "dtbsr": [], "sign_count": 1},
        ),
    ):
        yield name, reason, changed(**changes)
    yield "evidence-category", "a category that does not exist", evidence(category="location")
    yield "evidence-later", "evidence after the issue", evidence(at=IAT + 1)
    yield "evidence-truth", "a truth that is a number", evidence(restricted=1)
    yield "evidence-unknown-member", "a member nobody checks", evidence(more=1)


def _flip(segment: str) -> str:
    return ("B" if segment[0] == "A" else "A") + segment[1:]


def _not_canonical(segment: str) -> str:
    """The same octets, with the two unused bits of the last character set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return segment[:-1] + alphabet[alphabet.index(segment[-1]) | 1]


def main() -> None:
    """Write all files anew."""
    for folder in ("valid", "invalid"):
        (HERE / folder).mkdir(exist_ok=True)
        for old in (HERE / folder).glob("*.json"):
            old.unlink()
    _write(HERE / "keys.json", {"keys": [KEY.verification_key().as_jwk()]})
    for name, reason, sad in valid():
        content = {"reason": reason, "token": sads.encode(sad, KEY), "claims": sads._to_claims(sad)}
        _write(HERE / "valid" / f"{name}.json", content)
    for name, reason, token in invalid():
        _write(HERE / "invalid" / f"{name}.json", {"reason": reason, "token": token})


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
