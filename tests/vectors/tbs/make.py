"""Makes the vectors of octets to be signed for documents: ``python -m tests.vectors.tbs.make``.

``signers.json`` has certificates and algorithms; it was made once, and the P-256 one certifies the key that the SAD
vectors pin.  ``valid/`` and ``invalid/`` have a file a vector: the request in the link's form, the reason, and what is
built of it, for which signer and at what time.  ``pdf/`` has files with what is said of them, and what is digested.
Octets are base64url.  The same run gives the same files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from foundation.jose import decode_base64url, encode_base64url
from signing.sam.algorithms import SHA256, SHA384, SHA512, SignatureAlgorithm
from signing.sam.tbs.common import Signer
from signing.sam.tbs.pdf import ByteRangeDigest
from signing.sam.tbs.request import parse_pdf, parse_templates, pdf_template
from signing.sam.tbs.work import built_work

HERE = Path(__file__).parent
AT = 1_772_366_400
HASHES = {SHA256: "sha256", SHA384: "sha384", SHA512: "sha512"}


def signers() -> dict[str, Signer]:
    """Those of ``signers.json``."""
    found = json.loads((HERE / "signers.json").read_text(encoding="utf-8"))
    return {
        name: Signer(
            decode_base64url(value["certificate"].encode()),
            SignatureAlgorithm(value["scheme"], value["hash_alg"], value["salt_length"]),
            value["key_bits"],
            AT,
        )
        for name, value in found.items()
    }


def digest(text: str, hash_alg: str = SHA256) -> str:
    """Of a text, as a request has it."""
    return encode_base64url(hashlib.new(HASHES[hash_alg], text.encode()).digest())


POLICY = {"oid": "2.999.7", "hash_alg": SHA256, "digest": digest("a policy")}
CMS: dict[str, Any] = {
    "form": "cms",
    "document": digest("one"),
    "mime_type": None,
    "description": None,
    "commitment": None,
    "policy": None,
}
FILE = {"document": digest("one"), "form": "octets", "uri": "one.txt", "mime_type": "text/plain"}
XADES: dict[str, Any] = {"form": "xades", "id": "S-1", "references": [FILE], "commitment": None, "policy": None}
OBJECT = {"document": digest("one"), "uri": "one.txt", "mime_type": "text/plain"}
JWS: dict[str, Any] = {"form": "jws", "references": [OBJECT], "commitment": None}


ASIC: dict[str, Any] = {
    "form": "asic",
    "signature_uri": "META-INF/signature001.p7s",
    "references": [OBJECT],
    "commitment": None,
    "policy": None,
}
PAYLOAD: dict[str, Any] = {
    "form": "jws-payload",
    "document": digest("one"),
    "payload": encode_base64url(b"one"),
    "mime_type": "text/plain",
    "commitment": None,
}


def valid() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Name, reason, signer, request."""
    full = {**CMS, "mime_type": "application/pdf", "commitment": "ProofOfApproval", "policy": POLICY}
    yield "cms", "what every CAdES signature has", "p256", CMS
    yield "cms-all", "media type, commitment and policy", "p256", full
    yield "cms-description", "content-hints in UTF-8", "p256", {**CMS, "description": "Größe: 5 €, 合同"}
    yield "cms-p384", "SHA-384", "p384", {**CMS, "document": digest("one", SHA384)}
    yield "cms-pss", "parameters of RSASSA-PSS in the algorithm protection", "pss", CMS
    yield "cms-pkcs1", "SHA-512 and RSA PKCS#1 v1.5", "pkcs1", {**CMS, "document": digest("one", SHA512)}
    forms = [
        FILE,
        {**FILE, "uri": "folder/two%20&%20three's.xml", "document": digest("two"), "mime_type": "image/svg+xml"},
        {**FILE, "uri": "#object", "form": "base64", "document": digest("three")},
        {**FILE, "uri": "#element", "form": "element", "document": digest("four"), "mime_type": "text/xml"},
        {**FILE, "uri": "", "form": "enveloped", "document": digest("five"), "mime_type": "text/xml"},
    ]
    yield "xades", "one detached file", "p256", XADES
    yield "xades-forms", "every form of reference; an ampersand in a name", "p256", {**XADES, "references": forms}
    yield "xades-all", "commitment and policy", "p256", {**XADES, "commitment": "ProofOfOrigin", "policy": POLICY}
    long = [{**FILE, "document": digest("one", SHA384)}]
    yield "xades-p384", "SHA-384; the certificate's digest stays SHA-256", "p384", {**XADES, "references": long}
    yield "xades-pss", "the signature method of RFC 9231 2.3.10", "pss", XADES
    yield "jws", "one detached object", "p256", JWS
    objects = [OBJECT, {**OBJECT, "uri": "two.bin", "document": digest("two"), "mime_type": "application/x-any"}]
    yield (
        "jws-all",
        "two objects and a commitment",
        "pss",
        {**JWS, "references": objects, "commitment": "ProofOfSender"},
    )

    yield "asic", "a container's manifest of one file", "p256", ASIC
    named = [OBJECT, {**OBJECT, "uri": "folder/a&b.xml", "document": digest("two")}]
    everything = {**ASIC, "references": named, "commitment": "ProofOfApproval", "policy": POLICY}
    yield "asic-all", "two files, commitment and policy", "pss", everything
    yield "jws-payload", "a payload within", "p256", PAYLOAD
    larger = {**PAYLOAD, "document": digest("one", SHA512), "commitment": "ProofOfReceipt"}
    yield "jws-payload-pkcs1", "the same in SHA-512", "pkcs1", larger


def invalid() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, reason, request; each is refused, for the P-256 signer."""
    for form, right in (("cms", CMS), ("xades", XADES), ("jws", JWS)):
        yield f"{form}-more", "a member nobody knows", {**right, "more": None}
        yield f"{form}-less", "a member less", {key: value for key, value in right.items() if key != "commitment"}
        yield f"{form}-commitment", "a commitment of one's own", {**right, "commitment": "ProofOfNothing"}
    yield "asic-signature", "a signature elsewhere", {**ASIC, "signature_uri": "signature.p7s"}
    yield "asic-meta", "no document of the container", {**ASIC, "references": [{**OBJECT, "uri": "META-INF/a.p7s"}]}
    yield "jws-payload-other", "another payload", {**PAYLOAD, "payload": encode_base64url(b"two")}
    yield "jws-payload-digest", "another digest", {**PAYLOAD, "document": digest("two")}
    yield "jws-payload-more", "a header of one's own", {**PAYLOAD, "typ": "sad+jwt"}
    yield "form-pdf", "a PDF is streamed, not told", {**CMS, "form": "pdf"}
    yield "form-none", "no form", {**CMS, "form": None}
    for name, reason, changes in (
        ("digest-short", "a digest of another length", {"document": encode_base64url(bytes(20))}),
        ("digest-sha384", "a digest of another hash function", {"document": digest("one", SHA384)}),
        ("digest-hex", "not base64url", {"document": "=="}),
        ("mime-parameters", "a media type with parameters", {"mime_type": "text/plain; charset=utf-8"}),
        ("mime-line", "a line end", {"mime_type": "text/plain\n"}),
        ("mime-and-description", "both", {"mime_type": "text/plain", "description": "text"}),
        ("description-bidi", "text turned round", {"description": "fdp.\u202etxt"}),
        ("description-long", "longer than allowed", {"description": "x" * 256}),
        ("policy-oid", "no OID", {"policy": {**POLICY, "oid": "policy"}}),
        ("policy-sha1", "SHA-1", {"policy": {**POLICY, "hash_alg": "1.3.14.3.2.26", "digest": "A" * 27}}),
        ("signing-time", "a time of one's own", {"signing_time": AT}),
    ):
        yield f"cms-{name}", reason, {**CMS, **changes}
    for name, reason, change in (
        ("host", "a reference to another host", {"uri": "https://example.org/one.txt"}),
        ("root", "a reference to the file system's root", {"uri": "/etc/passwd"}),
        ("above", "a reference above", {"uri": "../one.txt"}),
        ("above-quoted", "the same, quoted", {"uri": "a/%2E%2E/one.txt"}),
        ("space", "a space", {"uri": "one two.txt"}),
        ("quote", "the end of an attribute", {"uri": 'one" Id="x'}),
        ("fragment", "an element where a file is said", {"uri": "#one"}),
        ("xpointer", "an expression in the place of a name", {"form": "element", "uri": "#xpointer(/)"}),
        ("own", "an element of the signature's", {"form": "element", "uri": "#S-1-properties"}),
        ("enveloped-elsewhere", "the document around, by name", {"form": "enveloped", "uri": "one.txt"}),
        ("xslt", "a transform that chooses", {"form": "xslt"}),
        ("markup", "markup in a media type", {"mime_type": "text/<b>"}),
    ):
        yield f"xades-{name}", reason, {**XADES, "references": [{**FILE, **change}]}
    yield "xades-twice", "one file twice", {**XADES, "references": [FILE, FILE]}
    yield "xades-none", "nothing is signed", {**XADES, "references": []}
    yield "xades-id", "an Id that ends the attribute", {**XADES, "id": 'S" x="'}
    yield "jws-host", "a reference to another host", {**JWS, "references": [{**OBJECT, "uri": "//example.org/"}]}
    yield "jws-quote", "the end of a text", {**JWS, "references": [{**OBJECT, "mime_type": 'a/b","alg":"none'}]}
    yield "jws-policy", "a policy, which the form does not have", {**JWS, "policy": POLICY}
    yield (
        "jws-101",
        "more than a signature is over",
        {**JWS, "references": [{**OBJECT, "uri": str(n)} for n in range(101)]},
    )


def built(request: dict[str, Any], signer: Signer) -> dict[str, Any]:
    """What is built of a request."""
    work = built_work(parse_templates([request]), signer)
    (octets,) = work.built
    beside = {
        name: None if value is None else encode_base64url(value)
        for name, value in (("signed_properties", octets.signed_properties), ("manifest", octets.manifest))
    }
    return {
        "tbs": encode_base64url(octets.tbs),
        **beside,
        "digest": encode_base64url(work.digests[0]),
    }


def numbered(objects: dict[int, str], start: int) -> tuple[bytes, list[tuple[int, int]]]:
    """Indirect objects as they stand in a file, each with its place."""
    out, places = b"", []
    for number, content in objects.items():
        places.append((number, start + len(out)))
        out += f"{number} 0 obj\n{content}\nendobj\n".encode()
    return out, places


def section(places: list[tuple[int, int]], at: int, trailer: str) -> bytes:
    """A cross-reference section for these objects, with its trailer."""
    rows = "".join(f"{number} 1\n{place:010} 00000 n \n" for number, place in places)
    return (
        f"xref\n0 1\n0000000000 65535 f \n{rows}trailer\n<< {trailer} /Root 1 0 R >>\nstartxref\n{at}\n%%EOF\n".encode()
    )


def document() -> bytes:
    """A PDF of one empty page: what was approved."""
    head = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
    body, places = numbered(
        {
            1: "<< /Type /Catalog /Pages 2 0 R >>",
            2: "<< /Type /Pages /Kids [ 3 0 R ] /Count 1 >>",
            3: "<< /Type /Page /Parent 2 0 R /MediaBox [ 0 0 595 842 ] /Resources << >> >>",
        },
        len(head),
    )
    return head + body + section(places, len(head + body), "/Size 4")


def prepared(hole: int = 4096) -> tuple[bytes, tuple[int, int, int, int]]:
    """The document with an empty signature appended, and its range."""
    approved = document()
    previous = approved.rpartition(b"startxref\n")[2].partition(b"\n")[0].decode()
    signature = (
        f"<< /Type /Sig /Filter /Adobe.PPKLite /SubFilter /ETSI.CAdES.detached /M (D:20260301120000Z)\n"
        f"/Contents <{'0' * hole}> /ByteRange [0 {'*' * 26}] >>"
    )
    body, places = numbered(
        {
            1: "<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [ 4 0 R ] /SigFlags 3 >> >>",
            3: "<< /Type /Page /Parent 2 0 R /MediaBox [ 0 0 595 842 ] /Resources << >> /Annots [ 4 0 R ] >>",
            4: "<< /Type /Annot /Subtype /Widget /FT /Sig /T (S) /Rect [ 0 0 0 0 ] /F 132 /P 3 0 R /V 5 0 R >>",
            5: signature,
        },
        len(approved),
    )
    file = approved + body + section(places, len(approved + body), f"/Size 6 /Prev {previous}")
    before = file.index(b"/Contents <0") + len(b"/Contents ")
    after = before + hole + 2
    numbers = (before, after, len(file) - after)
    said = "{} {} {}".format(*numbers).ljust(26).encode()
    return file.replace(b"*" * 26, said), (0, *numbers)


def pdfs() -> Iterator[tuple[str, str, bytes, dict[str, Any], bool]]:
    """Name, reason, file, what is said of it, whether it is taken."""
    file, (_, before, after, rest) = prepared()
    approved = len(document())
    right = {
        "document": encode_base64url(hashlib.sha256(document()).digest()),
        "approved_octets": approved,
        "byte_range": [0, before, after, rest],
    }
    yield "right", "as it should be", file, right, True
    changed = file.replace(b"595", b"596", 1)
    yield "document-changed", "one digit of the approved document", changed, right, False
    yield "prefix-short", "less than the approved document", file, {**right, "approved_octets": approved - 1}, False
    yield "prefix-long", "more than the approved document", file, {**right, "approved_octets": approved + 1}, False
    yield "document-other", "another document's digest", file, {**right, "document": digest("one")}, False
    yield "end-short", "a file that ends early", file[:-1], right, False
    yield "end-long", "a file that goes on", file + b"\n", right, False
    filled = file[: before + 9] + b"30" + file[before + 11 :]
    yield "hole-filled", "something in the hole", filled, right, False
    yield "hole-text", "no hexadecimal in the hole", file[: before + 9] + b"x" + file[before + 10 :], right, False
    hole_in_document = {**right, "byte_range": [0, 30, 30 + after - before, len(file) - 30 - after + before]}
    yield "hole-in-document", "a hole in the approved document", file, hole_in_document, False
    beyond = {**right, "byte_range": [0, before, after, rest + 1]}
    yield "range-beyond", "a range beyond the end", file, beyond, False
    gap = {**right, "byte_range": [0, before, after + 1, rest - 1]}
    yield "range-gap", "a range that leaves out one more octet", file, gap, False
    overlap = {**right, "byte_range": [0, before, before, len(file) - before]}
    yield "range-no-hole", "a range without a hole", file, overlap, False
    yield "range-late", "a range that begins late", file, {**right, "byte_range": [1, before, after, rest]}, False
    number = str(after).encode()
    lying = file.replace(b" " + number + b" ", b" " + str(after - 1).encode() + b" ")
    yield "range-said", "the file says another range", lying, right, False
    yield "range-twice", "the file says two", file.replace(b"/SubFilter", b"/ByteRange"), right, False
    yield "contents", "the hole is no Contents", file.replace(b"/Contents <", b"/Kontents <"), right, False


def measured(file: bytes, request: dict[str, Any], signer: Signer) -> dict[str, Any]:
    """What is digested and built."""
    reader = ByteRangeDigest(parse_pdf(request), signer.algorithm.hash_alg)
    reader.feed(file)
    pdf = reader.finish()
    work = built_work([pdf_template(pdf, {"commitment": None, "policy": None})], signer)
    return {
        "message_digest": encode_base64url(pdf.message_digest),
        "tbs": encode_base64url(work.built[0].tbs),
        "digest": encode_base64url(work.digests[0]),
    }


def write(folder: str, name: str, vector: dict[str, Any]) -> None:
    """One file."""
    place = HERE / folder / f"{name}.json"
    place.parent.mkdir(exist_ok=True)
    place.write_text(json.dumps(vector, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Write all of them."""
    known = signers()
    for name, reason, signer, request in valid():
        write(
            "valid",
            name,
            {"reason": reason, "signer": signer, "at": AT, "request": request, "built": built(request, known[signer])},
        )
    for name, reason, request in invalid():
        write("invalid", name, {"reason": reason, "request": request})
    for name, reason, file, request, taken in pdfs():
        made = measured(file, request, known["p256"]) if taken else None
        vector = {"reason": reason, "signer": "p256", "request": request, "file": encode_base64url(file), "built": made}
        write("pdf", name, vector)


if __name__ == "__main__":
    main()
