"""Other people's programs over our signatures: each says for itself, in a process of its own, what it makes of them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko.pdf_utils.reader import PdfFileReader

_READER: Any = PdfFileReader
_SECONDS = 120


@dataclass(frozen=True)
class Judges:
    """At work in a folder, with one trust anchor."""

    directory: Path
    root: bytes
    """DER."""

    def __post_init__(self) -> None:
        pem = x509.load_der_x509_certificate(self.root).public_bytes(Encoding.PEM)
        (self.directory / "root.pem").write_bytes(pem)

    def structure(self, pdf: bytes) -> None:
        """``qpdf`` and ``mutool`` find nothing wrong with the file."""
        path = self._file("structure.pdf", pdf)
        checked = _run("qpdf", "--check", str(path), where=self.directory)
        assert "No syntax or stream encoding errors found" in checked.stdout, checked.stdout
        assert "WARNING" not in checked.stdout + checked.stderr, checked
        opened = _run("mutool", "info", str(path), where=self.directory)
        assert "Pages: 1" in opened.stdout, opened
        assert ("error" in opened.stderr or "warning" in opened.stderr) is False, opened.stderr

    def pdfsig(self, pdf: bytes, *, whole: bool) -> None:
        """Poppler's view of the first signature: its value, and whether something comes after it."""
        path = self._file("pdfsig.pdf", pdf)
        said = _run("pdfsig", "-nocert", str(path), where=self.directory).stdout
        first = said.partition("Signature #2")[0]
        assert "Signature Type: ETSI.CAdES.detached" in first, said
        assert "Signature is Valid." in first, said
        assert (" - Total document signed" in first) is whole, said

    def mutool(self, pdf: bytes, *, whole: bool) -> None:
        """MuPDF's view of the first signature."""
        path = self._file("mutool.pdf", pdf)
        said = _run("mutool", "sign", "-v", str(path), where=self.directory).stdout
        expected = "The document is unchanged since signing." if whole else "The signature is valid but there have been"
        assert expected in said, said

    def cms(self, pdf: bytes, at: int) -> None:
        """``openssl cms``: value, signed attributes with the signing certificate (``-cades``), and chain."""
        embedded = _READER(BytesIO(pdf)).embedded_regular_signatures[0]
        content = self._file("content", _covered(pdf, embedded.byte_range))
        signature = self._file("signature", _der(embedded))
        _run(
            "openssl", "cms", "-verify", "-cades", "-binary", "-inform", "DER", "-in", str(signature),
            "-content", str(content), "-CAfile", "root.pem", "-purpose", "any", "-attime", str(at), "-out", "out",
            where=self.directory,
        )  # fmt: skip

    def timestamps(self, pdf: bytes, at: int) -> int:
        """``openssl ts`` over every time-stamp, each with what it has to be of; how many there were."""
        reader = _READER(BytesIO(pdf))
        stamped: list[tuple[bytes, bytes]] = []
        for each in reader.embedded_regular_signatures:
            unsigned = {item["type"].native: item["values"] for item in each.signer_info["unsigned_attrs"] or ()}
            for token in unsigned.get("signature_time_stamp_token", ()):
                stamped.append((token.dump(), each.signer_info["signature"].native))
        for each in reader.embedded_timestamp_signatures:
            stamped.append((_der(each), _covered(pdf, each.byte_range)))
        for token_der, data in stamped:
            token, content = self._file("token", token_der), self._file("stamped", data)
            _run(
                "openssl", "ts", "-verify", "-token_in", "-in", str(token), "-data", str(content),
                "-CAfile", "root.pem", "-attime", str(at), where=self.directory,
            )  # fmt: skip
        return len(stamped)

    def _file(self, name: str, octets: bytes) -> Path:
        path = self.directory / name
        path.write_bytes(octets)
        return path


def _covered(pdf: bytes, byte_range: Any) -> bytes:
    _, before, after, rest = map(int, byte_range)
    return pdf[:before] + pdf[after : after + rest]


def _der(embedded: Any) -> bytes:
    """Without the zeros that fill the place that was left for it."""
    exact: bytes = cms.ContentInfo.load(embedded.pkcs7_content).dump()
    return exact


def _run(*command: str, where: Path) -> subprocess.CompletedProcess[str]:
    made = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert made.returncode == 0, made
    return made
