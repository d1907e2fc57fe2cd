#!/usr/bin/env python3
"""Verify an exported audit chain and its anchors, or one signature's evidence, without the software that wrote them.

    python3 standalone.py [--anchors anchors.jsonl [--tsa-roots roots.pem] [--checkpoint-key key.pem]] audit-*.jsonl

    python3 standalone.py --evidence evidence.json --idp-key idp.pem --sam-key sam.pem [--tsa-roots roots.pem]

Needs Python 3.9 and its standard library; for stamps and signatures, the `openssl` command.  Exit code 0: all verified;
1: what does not verify is named; 2: a file cannot be read.  docs/audit-events.md and docs/evidence.md describe the
formats.
"""

from __future__ import annotations

import argparse
import base64
import calendar
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

DOMAIN = b"privyseal-audit-2\n"
LEAF, NODE = b"\x00", b"\x01"
ED25519 = bytes.fromhex("302a300506032b6570032100")
P256 = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
NOTE = re.compile(
    "(?P<text>privyseal-checkpoint/1/(?P<origin>[!-*,-~]{1,255})\n(?P<size>0|[1-9][0-9]{0,18})\n"
    "(?P<root>[A-Za-z0-9+/]{43}=)\nchain (?P<hash>[0-9a-f]{64})\nat (?P<at>0|[1-9][0-9]{0,18})\n)"
    "\n\u2014 privyseal-checkpoint/1/(?P=origin) (?P<value>[A-Za-z0-9+/]{8,256}={0,2})\n\\Z"
)


class Broken(Exception):
    """What does not verify."""


def record_leaf(number: int, entry: Mapping[str, Any]) -> bytes:
    """A record's leaf (RFC 6962 2.1), as docs/audit-events.md says."""
    record = json.dumps([number, entry["at"], entry["event"], entry["fields"]], separators=(",", ":"))
    return hashlib.sha256(LEAF + DOMAIN + record.encode()).digest()


def record_hash(number: int, entry: Mapping[str, Any]) -> str:
    """A record's hash: the node of the hash before and its leaf."""
    return hashlib.sha256(NODE + bytes.fromhex(entry["previous"]) + record_leaf(number, entry)).hexdigest()


class Tree:
    """The Merkle tree of the leaves that went by (RFC 6962 2.1): roots of its whole subtrees, the greatest first."""

    def __init__(self) -> None:
        self.size = 0
        self.hashes: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """Go on with a leaf."""
        self.hashes.append(leaf)
        size = self.size
        while size & 1:
            right = self.hashes.pop()
            self.hashes[-1] = node(self.hashes[-1], right)
            size >>= 1
        self.size += 1

    def root(self) -> bytes:
        """Over all of them."""
        if not self.hashes:
            return hashlib.sha256(b"").digest()
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node(left, root)
        return root


def node(left: bytes, right: bytes) -> bytes:
    """A node of the tree over two."""
    return hashlib.sha256(NODE + left + right).digest()


def verify_chain(
    lines: Iterable[str], points: Mapping[int, str], notes: Iterable[Mapping[str, Any]] = ()
) -> tuple[int, str]:
    """Verify records in order; ``points`` are hashes by sequence number that were written down elsewhere.

    ``notes`` are signed checkpoints as :func:`read_note` gives them.  Returns how many records there are and the last
    one's hash.
    """
    number, previous, left, tree = 0, "0" * 64, dict(points), Tree()
    signed: dict[int, list[Mapping[str, Any]]] = {}
    for note in notes:
        signed.setdefault(note["size"], []).append(note)
    for line in lines:
        if not line.strip():
            continue
        entry = json.loads(line)
        number += 1
        if entry["sequence"] != number or entry["previous"] != previous:
            raise Broken(f"record {number} is missing or out of order")
        previous = record_hash(number, entry)
        if entry["hash"] != previous:
            raise Broken(f"record {number} was changed")
        if left.pop(number, previous) != previous:
            raise Broken(f"record {number} is not the one that was anchored")
        tree.add(record_leaf(number, entry))
        for note in signed.pop(number, ()):
            if (note["hash"], note["root"]) != (previous, tree.root()):
                raise Broken(f"record {number} is not the one of a signed checkpoint")
    if signed:
        raise Broken(f"record {number + 1} is missing: a signed checkpoint knows of {max(signed)} records")
    if left:
        raise Broken(f"record {number + 1} is missing: an anchor knows of {max(left)} records")
    return number, previous


def checkpoint_line(anchor: Mapping[str, Any]) -> bytes:
    """The octets that were stamped: the anchor's line without the stamp."""
    members = {name: anchor[name] for name in ("sequence", "hash", "at", "note") if name in anchor}
    return json.dumps(members, separators=(",", ":")).encode()


def read_points(anchors: Iterable[Mapping[str, Any]]) -> dict[int, str]:
    """What the anchors say by sequence number; two that contradict each other are not both true."""
    points: dict[int, str] = {}
    for anchor in anchors:
        number, known = anchor["sequence"], anchor["hash"]
        if points.setdefault(number, known) != known:
            raise Broken(f"two anchors contradict each other about record {number}")
    return points


def verify_stamp(anchor: Mapping[str, Any], roots: str, openssl: str, apart: int) -> None:
    """Have OpenSSL verify the stamp of an anchor (RFC 3161), and compare its time with the one that the anchor states.

    The writer chose the time that is stated: a chain that was written anew can have anchors of any age, but stamps of
    today.
    """
    with tempfile.NamedTemporaryFile() as token, tempfile.NamedTemporaryFile() as data:
        token.write(base64.b64decode(anchor["token"], validate=True))
        data.write(checkpoint_line(anchor))
        token.flush()
        data.flush()
        inputs = ["-token_in", "-in", token.name]
        done = run([openssl, "ts", "-verify", *inputs, "-data", data.name, "-CAfile", roots])
        shown = run([openssl, "ts", "-reply", *inputs, "-text"])
    which = f"the stamp of the anchor at record {anchor['sequence']}"
    if done.returncode != 0:
        raise Broken(f"{which} does not verify")
    if abs(stamp_time(shown.stdout) - anchor["at"] / 1_000_000) > apart:
        raise Broken(f"{which} is not of the time that the anchor states")


def read_note(text: str) -> dict[str, Any]:
    """A signed checkpoint: a note of C2SP tlog-checkpoint, with two extension lines."""
    found = NOTE.match(text)
    if found is None:
        raise Broken("a signed checkpoint is not in its form")
    note = {name: found[name] for name in ("origin", "hash", "text")}
    value = base64.b64decode(found["value"], validate=True)
    return {
        **note,
        "size": int(found["size"]),
        "root": base64.b64decode(found["root"], validate=True),
        "at": int(found["at"]),
        "key_id": value[:4],
        "signature": value[4:],
    }


def verify_note(note: Mapping[str, Any], keys: Iterable[str], openssl: str) -> None:
    """Have OpenSSL verify a signed checkpoint's signature with one of the keys, files of PEM."""
    for key in keys:
        der = run([openssl, "pkey", "-pubin", "-in", key, "-outform", "DER"])
        if der.returncode != 0:
            raise ValueError(f"{key} is no public key")
        named = hashlib.sha256(der.stdout).digest()[:4] == note["key_id"]
        if named and verify_signature(key, note["signature"], note["text"].encode(), openssl):
            return
    raise Broken(f"the signed checkpoint at record {note['size']} is signed by none of the keys")


def verify_signature(key: str, signature: bytes, data: bytes, openssl: str) -> bool:
    """Whether a signature in DER over the SHA-256 of the data is the key's."""
    with tempfile.NamedTemporaryFile() as value, tempfile.NamedTemporaryFile() as signed:
        value.write(signature)
        signed.write(data)
        value.flush()
        signed.flush()
        return run([openssl, "dgst", "-sha256", "-verify", key, "-signature", value.name, signed.name]).returncode == 0


# One signature's evidence


class Evidence:
    """A document of evidence, verified as it is made: whatever does not fit raises Broken, and names what."""

    def __init__(self, document: Mapping[str, Any], options: argparse.Namespace) -> None:
        if document.get("format") != "privyseal-evidence-1":
            raise Broken("this is no evidence in a form that is known")
        self.openssl = options.openssl
        self.roots = options.tsa_roots
        self.apart = options.apart
        self.txn = document["txn"]
        self.sam_part, self.idp_part = document["sam"], document["idp"]
        self.sam = self.records("sam", self.sam_part, options.sam_key)
        self.idp = self.records("idp", self.idp_part, options.idp_key)
        self.intents = [fields for event, fields in self.sam if event == "signature.intent" and self.mine(fields)]
        if not self.intents:
            raise Broken("sam: nothing was signed under this transaction")
        self.verify_outcomes()
        self.verify_keys()
        self.verify_approval()
        self.proofs = sum(self.verify_proof(intent) for intent in self.intents)

    def mine(self, fields: Mapping[str, Any]) -> bool:
        """Whether a record is of this transaction."""
        return bool(fields.get("txn") == self.txn)

    def records(self, side: str, part: Mapping[str, Any], key: str) -> list[tuple[str, Mapping[str, Any]]]:
        """Event and fields of a part's records, each shown to be under the signed checkpoint."""
        if part.get("format") != "privyseal-evidence-part-1" or (part["side"], part["txn"]) != (side, self.txn):
            raise Broken(f"{side}: this is no part of this evidence")
        note = read_note(part["checkpoint"])
        if not note["origin"].endswith("/" + side):
            raise Broken(f"{side}: the checkpoint is of another chain")
        try:
            verify_note(note, [key], self.openssl)
        except Broken as error:
            raise Broken(f"{side}: {error}") from error
        self.verify_anchor(side, part)
        found, last = [], 0
        for record in part["records"]:
            number = record["sequence"]
            if number <= last:
                raise Broken(f"{side}: record {number} is out of order")
            last = number
            path = [bytes.fromhex(each) for each in record["path"]]
            if not included(record_leaf(number, record), number - 1, note["size"], path, note["root"]):
                raise Broken(f"{side}: record {number} is not the one under the signed checkpoint")
            found.append((record["event"], json.loads(record["fields"])))
        return found

    def verify_anchor(self, side: str, part: Mapping[str, Any]) -> None:
        """The time-stamp over the checkpoint, where stamps are asked for."""
        if not self.roots:
            return
        if "anchor" not in part:
            raise Broken(f"{side}: the checkpoint has no time-stamp")
        if part["anchor"].get("note") != part["checkpoint"]:
            raise Broken(f"{side}: the time-stamp is over another checkpoint")
        try:
            verify_stamp(part["anchor"], self.roots, self.openssl, self.apart)
        except Broken as error:
            raise Broken(f"{side}: {error}") from error

    def verify_outcomes(self) -> None:
        """One outcome for each intent; no position of the approval twice, but after it was released."""
        outcomes: dict[str, str] = {}
        for event, fields in self.sam:
            if event in ("signature.consumed", "signature.released", "signature.indeterminate"):
                if fields["redemption"] in outcomes:
                    raise Broken("sam: a use of the approval has two outcomes")
                outcomes[fields["redemption"]] = event
        spent: set[str] = set()
        for intent in self.intents:
            outcome = outcomes.pop(intent["redemption"], None)
            if outcome is None:
                raise Broken("sam: a use of the approval has no outcome")
            if len(intent["positions"]) != len(intent["digests"]):
                raise Broken("sam: a use of the approval has another number of digests than of positions")
            if outcome != "signature.released":
                if spent & set(intent["positions"]):
                    raise Broken("sam: a position of the approval was used twice")
                spent |= set(intent["positions"])
        if outcomes:
            raise Broken("sam: an outcome belongs to no use of the approval")
        self.consumed = sum(event == "signature.consumed" for event, fields in self.sam if self.mine(fields))

    def verify_keys(self) -> None:
        """The credential's key, born in the device, and the certificate that was linked to it."""
        for name in sorted({intent["credential_id"] for intent in self.intents}):
            shown = self.sam_part["attachments"]["credentials"].get(name)
            if shown is None:
                raise Broken(f"sam: the certificate of credential {name} is missing")
            about = [(event, fields) for event, fields in self.sam if fields.get("credential_id") == name]
            key = base64.b64decode(shown["public_key"], validate=True)
            born = [fields for event, fields in about if event in ("credential.created", "credential.imported")]
            if [fields["public_key_sha256"] for fields in born] != [hashlib.sha256(key).hexdigest()]:
                raise Broken(f"sam: the key of credential {name} is not the one of its record")
            if "key_attributes" in born[0] and "SENSITIVE=TRUE" not in born[0]["key_attributes"]:
                raise Broken(f"sam: the key of credential {name} was not sensitive when it was born")
            self.attributes = born[0].get("key_attributes", [])
            if any(event == "credential.imported" for event, _ in about):
                self.attributes = ["imported,", *self.attributes]
            certificate = base64.b64decode(shown["certificates"][0], validate=True) if shown["certificates"] else b""
            linked = [fields["certificate_sha256"] for event, fields in about if event == "credential.activated"]
            if hashlib.sha256(certificate).hexdigest() not in linked[-1:]:
                raise Broken(f"sam: the certificate of credential {name} is not the one of its record")
            if public_key_of(certificate, self.openssl) != key:
                raise Broken(f"sam: the certificate of credential {name} is for another key")

    def verify_approval(self) -> None:
        """What the identity provider's chain says is what the module acted on."""
        approved = [fields for event, fields in self.idp if event == "transaction.approved" and self.mine(fields)]
        if len(approved) != 1:
            raise Broken("idp: the transaction was not approved, or more than once")
        self.approved = approved[0]
        self.issued = {fields["jti"]: fields for event, fields in self.idp if event == "sad.issued"}
        for intent in self.intents:
            issued = self.issued.get(intent["jti"])
            if issued is None or issued["sad_sha256"] != intent["sad_sha256"]:
                raise Broken("idp: the SAD that was used is none that its chain knows")
            same = {
                "person": (issued["account_id"], self.approved["account_id"], intent["owner"]),
                "client": (issued["client_id"], self.approved["client_id"], intent["client_id"]),
                "credential": (issued["credential_id"], intent["credential_id"]),
                "decision": (issued["decision_id"], self.approved["decision_id"], intent["decision"]),
                "policy": (self.approved["policy_sha256"], intent["policy_sha256"]),
                "hash algorithm": (issued["hash_alg"], intent["hash_alg"]),
            }
            for what, values in same.items():
                if len(set(values)) != 1:
                    raise Broken(f"idp and sam do not say the same: another {what}")
            authorized = issued["digests"]
            if authorized and any(authorized[position] != digest for position, digest in self.used(intent)):
                raise Broken("idp and sam do not say the same: another digest")
            if self.approved.get("digests", authorized) != authorized:
                raise Broken("idp: what was approved is not what the SAD was issued for")
        check_shown(self.approved)
        decision: Any = self.idp_part["attachments"]["decisions"].get(self.approved["decision_id"])
        text = json.dumps(decision, sort_keys=True, separators=(",", ":"))
        if hashlib.sha256(text.encode()).hexdigest() != self.approved["decision_sha256"]:
            raise Broken("idp: the decision is not the one of its record")
        if decision["policy_sha256"] != self.approved["policy_sha256"]:
            raise Broken("idp: the decision is by another policy than its record says")
        for sha256, policy in self.idp_part["attachments"]["policies"].items():
            if hashlib.sha256(base64.b64decode(policy, validate=True)).hexdigest() != sha256:
                raise Broken("idp: the policy file is not the one that decided")

    def verify_proof(self, intent: Mapping[str, Any]) -> bool:
        """The signer's own device signed what was approved; False where there was no proof."""
        if "proof_sha256" not in intent:
            return False
        claim = json.loads("".join(intent["proof"]))
        text = json.dumps(claim, sort_keys=True, separators=(",", ":"))
        if hashlib.sha256(text.encode()).hexdigest() != intent["proof_sha256"] or claim["kid"] != intent["proof_key"]:
            raise Broken("sam: the signer's proof is not the one of its record")
        digests = self.issued[intent["jti"]]["digests"]
        parts = ["privyseal-proof-1", intent["aud"], self.txn, intent["client_id"], intent["credential_id"]]
        parts += [intent["hash_alg"], intent["hash_type"], str(len(digests))]
        octets = [part.encode() for part in parts] + [bytes.fromhex(digest) for digest in digests]
        octets += [base64url(claim["display"]), str(claim["iat"]).encode(), str(claim["exp"]).encode(), b"approve"]
        statement = b"".join(len(each).to_bytes(4, "big") + each for each in octets)
        signature = base64url(claim["signature"])
        shown = self.sam_part["attachments"]["credentials"][intent["credential_id"]]["proof_keys"]
        known = [json.loads(base64.b64decode(each, validate=True)) for each in shown]
        trusted = [each for each in known if thumbprint(each["jwk"]) == claim["kid"] and each["form"] == claim["form"]]
        if not trusted:
            raise Broken("sam: the key of the signer's proof is missing")
        if claim["form"] == "webauthn":
            statement = asserted(claim, trusted[0], statement)
        else:
            signature = der_signature(signature)
        with tempfile.NamedTemporaryFile() as key:
            key.write(pem_of(trusted[0]["jwk"]))
            key.flush()
            verify = verify_ed25519 if trusted[0]["jwk"]["kty"] == "OKP" else verify_signature
            if not verify(key.name, signature, statement, self.openssl):
                raise Broken("sam: the signer's proof does not verify")
        return True

    def verify_sad(self, token: str, key: str) -> None:
        """The SAD, where somebody kept it: the one that was used, under the issuer's key."""
        if hashlib.sha256(token.encode()).hexdigest() not in {intent["sad_sha256"] for intent in self.intents}:
            raise Broken("the SAD is not the one that was used")
        signed, _, signature = token.rpartition(".")
        header = json.loads(base64url(signed.partition(".")[0]))
        if header.get("alg") != "ES256":
            raise ValueError("a SAD's signature is verified here for ES256 only")
        if not verify_signature(key, der_signature(base64url(signature)), signed.encode(), self.openssl):
            raise Broken("the SAD's signature is not by the issuer's key")

    def lines(self) -> Iterator[str]:
        """What it shows, for people."""
        approved, first = self.approved, self.intents[0]
        yield f"transaction {self.txn}: {self.consumed} of {len(self.intents)} uses ended with released signatures"
        yield f"approved by account {approved['account_id']} for client {approved['client_id']}"
        yield f"level {first['loa']}, acr {approved['acr']}, methods {' '.join(approved['amr'])}"
        for item in map(json.loads, first["evidence"]):
            yield f"factor {item['factor']} ({item['category']}) at {moment(item['at'])}"
        yield f"policy {approved['policy']} {approved['policy_sha256']}, decision {approved['decision_id']}"
        if "shown" in self.approved:
            seen = sum(line.split(" ")[1] == "shown" for line in self.approved["shown"])
            yield f"documents: {seen} of {len(self.approved['shown'])} could be looked at before the approval"
        yield f"signer's proof: {self.proofs} verified" if self.proofs else "signer's proof: none was asked for"
        yield f"credential {first['credential_id']}, key: {' '.join(self.attributes) or 'no attributes recorded'}"
        for intent in self.intents:
            for position, digest in self.used(intent):
                yield f"digest {position}: {digest}"

    @staticmethod
    def used(intent: Mapping[str, Any]) -> list[tuple[int, str]]:
        """Positions of the approval, each with its digest; as many, by :meth:`verify_outcomes`."""
        positions, digests = intent["positions"], intent["digests"]
        return [(int(position), digests[at]) for at, position in enumerate(positions)]


def check_shown(approved: Mapping[str, Any]) -> None:
    """What the person was shown: its digest, and that it is about the documents that were approved.

    :raises Broken: otherwise.
    """
    lines = approved.get("shown")
    if lines is None:
        return
    text = "".join(line + "\n" for line in ("privyseal-shown-1", *lines))
    if hashlib.sha256(text.encode()).hexdigest() != approved.get("shown_sha256"):
        raise Broken("idp: what was shown is not what its digest says")
    if [line.partition(" ")[0] for line in lines] != approved.get("digests"):
        raise Broken("idp: what was shown are not the documents that were approved")


def included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether a leaf is in a tree (RFC 9162 2.1.3.2)."""
    place, last, found = index, size - 1, leaf
    if not 0 <= index < size:
        return False
    for sibling in path:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node(sibling, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node(found, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def public_key_of(certificate: bytes, openssl: str) -> bytes:
    """DER SubjectPublicKeyInfo of a certificate in DER."""
    with tempfile.NamedTemporaryFile() as file, tempfile.NamedTemporaryFile() as key:
        file.write(certificate)
        file.flush()
        key.write(run([openssl, "x509", "-inform", "DER", "-in", file.name, "-pubkey", "-noout"]).stdout)
        key.flush()
        return run([openssl, "pkey", "-pubin", "-in", key.name, "-outform", "DER"]).stdout


def base64url(text: str) -> bytes:
    """RFC 4648 5, without padding."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def der_signature(raw: bytes) -> bytes:
    """Ecdsa-Sig-Value (RFC 3279 2.2.3) of r and s of 32 octets each (RFC 7518 3.4)."""
    if len(raw) != 64:
        raise Broken("a signature on P-256 has 64 octets")
    numbers = b""
    for each in (raw[:32], raw[32:]):
        number = each.lstrip(b"\0") or b"\0"
        number = b"\0" + number if number[0] & 0x80 else number
        numbers += bytes([2, len(number)]) + number
    return bytes([0x30, len(numbers)]) + numbers


def asserted(claim: Mapping[str, str], trusted: Mapping[str, Any], statement: bytes) -> bytes:
    """What an assertion's signature is over (WebAuthn Level 3 7.2), once it is about the statement, at its place."""
    client_data, data = base64url(claim["client_data"]), base64url(claim["authenticator_data"])
    said = json.loads(client_data)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(statement).digest()).decode().rstrip("=")
    if (said["type"], said["challenge"]) != ("webauthn.get", challenge):
        raise Broken("sam: the signer's proof is over something else")
    if said["origin"] != trusted["origin"] or data[:32] != hashlib.sha256(trusted["rp_id"].encode()).digest():
        raise Broken("sam: the signer's proof was made at another place")
    if data[32] & 0x05 != 0x05:
        raise Broken("sam: the signer's proof was made without verifying the person")
    return data + hashlib.sha256(client_data).digest()


def thumbprint(jwk: Mapping[str, str]) -> str:
    """RFC 7638."""
    members = {name: jwk[name] for name in ("crv", "kty", "x", "y") if name in jwk}
    digest = hashlib.sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def pem_of(jwk: Mapping[str, str]) -> bytes:
    """SubjectPublicKeyInfo in PEM of a key on P-256 or of Ed25519."""
    if jwk["crv"] == "Ed25519":
        der = ED25519 + base64url(jwk["x"])
    elif jwk["crv"] == "P-256":
        der = P256 + base64url(jwk["x"]) + base64url(jwk["y"])
    else:
        raise ValueError("a proof by a key of a kind that is not known here")
    return b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(der) + b"-----END PUBLIC KEY-----\n"


def moment(seconds: int) -> str:
    """A time for people, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def verify_evidence(options: argparse.Namespace) -> str:
    """Verify a document of evidence; what to tell of it."""
    with open(options.evidence, encoding="utf-8") as file:
        found = Evidence(json.load(file), options)
    if options.sad:
        with open(options.sad, encoding="ascii") as file:
            found.verify_sad(file.read().strip(), options.issuer_key)
    return "".join(line + "\n" for line in ("ok", *found.lines()))


def verify_ed25519(key: str, signature: bytes, data: bytes, openssl: str) -> bool:
    """The same for Ed25519 (RFC 8032)."""
    with tempfile.NamedTemporaryFile() as value, tempfile.NamedTemporaryFile() as signed:
        value.write(signature)
        signed.write(data)
        value.flush()
        signed.flush()
        inputs = ["-pubin", "-inkey", key, "-sigfile", value.name, "-in", signed.name]
        return run([openssl, "pkeyutl", "-verify", "-rawin", *inputs]).returncode == 0


def run(command: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    """Run one of OpenSSL's commands."""
    return subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - the auditor's own command


def stamp_time(shown: bytes) -> int:
    """The time of a stamp, as Unix time, from OpenSSL's description of it."""
    for line in shown.decode("ascii", "replace").splitlines():
        name, _, value = line.partition(": ")
        if name == "Time stamp":
            whole = re.sub(r"\.[0-9]+", "", value)
            return calendar.timegm(time.strptime(whole, "%b %d %H:%M:%S %Y GMT"))
    raise ValueError("OpenSSL shows no time of the stamp")


def read_lines(paths: Iterable[str]) -> Iterator[str]:
    """The lines of several files, in the order of their names."""
    for path in sorted(paths):
        with open(path, encoding="ascii") as file:
            yield from file


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description="Verify an exported audit chain, or one signature's evidence.")
    made.add_argument("export", nargs="*", help="files of `privyseal audit export` or of the anchor process")
    made.add_argument("--anchors", help="the anchor process's file")
    made.add_argument("--tsa-roots", help="PEM file with the time-stamping authorities' trust anchors")
    text = "seconds between the time that an anchor states and its stamp's, at most (default: %(default)s)"
    made.add_argument("--apart", type=int, default=600, metavar="SECONDS", help=text)
    text = "PEM file with the public key that signed checkpoints are verified with; may be given several times"
    made.add_argument("--checkpoint-key", action="append", default=[], metavar="FILE", help=text)
    made.add_argument("--openssl", default="openssl", help="the command (default: %(default)s)")
    made.add_argument("--evidence", metavar="FILE", help="one signature's evidence, in the place of an export")
    for side in ("idp", "sam"):
        made.add_argument(f"--{side}-key", metavar="FILE", help=f"PEM file: signs the {side}'s checkpoints")
    made.add_argument("--sad", metavar="FILE", help="with the evidence: the SAD, where somebody kept it")
    made.add_argument("--issuer-key", metavar="FILE", help="PEM file: signs SADs")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    commands = parser()
    options = commands.parse_args(argv)
    if bool(options.evidence) == bool(options.export):
        commands.error("either files of an export or --evidence")
    if options.evidence and not (options.idp_key and options.sam_key):
        commands.error("--evidence needs --idp-key and --sam-key: pinned, not those that come with it")
    if bool(options.sad) != bool(options.issuer_key):
        commands.error("--sad and --issuer-key belong together")
    try:
        if options.evidence:
            sys.stdout.write(verify_evidence(options))
            return 0
        # What a crash left of a last line was never an anchor.
        lines = [line for line in read_lines([options.anchors]) if line.endswith("\n")] if options.anchors else []
        anchors = [json.loads(line) for line in lines]
        points = read_points(anchors)
        notes = [read_note(anchor["note"]) for anchor in anchors if "note" in anchor]
        number, head = verify_chain(read_lines(options.export), points, notes)
        for note in notes if options.checkpoint_key else ():
            verify_note(note, options.checkpoint_key, options.openssl)
        if options.tsa_roots:
            for anchor in anchors:
                verify_stamp(anchor, options.tsa_roots, options.openssl, options.apart)
    except Broken as broken:
        sys.stdout.write(f"broken: {broken}\n")
        return 1
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        sys.stderr.write(f"error: a file cannot be read: {type(error).__name__}: {error}\n")
        return 2
    stamps = f", {len(anchors)} stamps" if options.tsa_roots else ""
    stamps += f", {len(notes)} signed checkpoints" if options.checkpoint_key else ""
    sys.stdout.write(f"ok: {number} records, head {head}, {len(anchors)} anchors{stamps}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
