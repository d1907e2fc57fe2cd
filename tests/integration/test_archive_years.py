"""SIG-12: an archive on a machine whose clock is five years ahead, before programs that know nothing of it.

Signer and authority are the development ones on a clock of the test's; the judges are processes of their own, under
libfaketime.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko.pdf_utils.reader import PdfFileReader

from devservices import profiles
from foundation.clock import FixedClock, SystemClock
from signing.ades.extending import Means, extended
from signing.ades.validate.policy import ValidationPolicy
from signing.csc.certificate_status import CertificateStatus
from signing.settings import StatusSettings
from tests.documents import blank_pdf
from tests.integration.devservices import ROOT
from tests.steps import SteppedClock
from tests.trust import Trust, signed_pdf

_READER: Any = PdfFileReader
KEY = ec.generate_private_key(ec.SECP256R1())
YEARS = timedelta(days=5 * 365 + 2)
SETTINGS = StatusSettings("played", (Path("root"),))
OURS = "import sys; from signing.validation.command import main; sys.exit(main(sys.argv[1:]))"
PYHANKO = """
import sys
from pathlib import Path
from foundation.clock import SystemClock
from signing.ades.validation_data import ValidationData
from tests.trust import judged
folder = Path(sys.argv[1])
told = ValidationData(ocsps=((folder / "unit.ocsp").read_bytes(),))
print(judged((folder / sys.argv[2]).read_bytes(), (folder / "root.der").read_bytes(), SystemClock().now(), told))
"""


@dataclass(frozen=True)
class Later:
    """A folder with files of five years ago, and a machine of then."""

    folder: Path
    clock: SteppedClock
    stamped: datetime
    """When the signature was."""

    def run(self, *command: str) -> str:
        """What a program says, whatever it thinks."""
        environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC", **self.clock.environment}
        made = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False
        )
        return made.stdout

    def pyhanko(self, name: str) -> str:
        """Its verdict by the archive's process, with what is said of the second unit then."""
        return self.run(sys.executable, "-c", PYHANKO, str(self.folder), name).splitlines()[-1]

    def ours(self, name: str) -> str:
        """``privyseal validate``, which fetches nothing."""
        command = (sys.executable, "-c", OURS, str(self.folder / name))
        return self.run(*command, "--trust", str(self.folder / "root.pem"))

    def write(self, name: str, octets: bytes) -> str:
        path = self.folder / name
        path.write_bytes(octets)
        return str(path)


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Later]:
    folder = tmp_path_factory.mktemp("years")
    now = SystemClock().now()
    with made(folder, FixedClock(now)) as trust:
        clock = SteppedClock(folder / "clock")
        clock.step(int(YEARS.total_seconds()))
        trust.clock.advance((now + YEARS - trust.clock.now()).total_seconds())
        root = x509.load_der_x509_certificate(trust.root)
        (folder / "root.der").write_bytes(trust.root)
        (folder / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
        trust.reopen()
        (folder / "unit.ocsp").write_bytes(trust.answer(trust.unit("another unit").certificate, trust.root))
        yield Later(folder, clock, now)


@contextmanager
def made(folder: Path, clock: FixedClock) -> Iterator[Trust]:
    """Today's signature at its levels, and the archive after its renewal in four years by another unit."""
    with pytest.MonkeyPatch.context() as patch:
        # As long as authorities' commonly do: pyHanko goes no further where one of a path has expired.  Ours does, see
        # tests/unit/signing_ades/test_extending.py.
        patch.setitem(profiles.LIFETIMES, "issuing", timedelta(days=3650))
        trust = Trust(folder / "authorities", clock)
    unit, chain = trust.unit("unit"), trust.signer(KEY)
    clock.advance(1)
    stamped = signed_pdf(blank_pdf(), KEY, chain, clock.now(), unit)
    clock.advance(1)
    status = CertificateStatus(trust, [x509.load_der_x509_certificate(trust.root)], clock, SETTINGS)
    policy = ValidationPolicy((trust.root,))
    first = Means(lambda digest: unit.stamp(digest, "sha256").der, status.of, policy, clock)
    validatable = extended(stamped, "B-LT", first).octets
    archive = extended(validatable, "B-LTA", first).octets
    clock.advance(4 * 365 * 86_400)
    another = trust.unit("another unit")
    second = Means(lambda digest: another.stamp(digest, "sha256").der, status.of, policy, clock)
    renewed = extended(archive, "B-LTA", second, renew=True).octets
    files = {"stamped": stamped, "validatable": validatable, "archive": archive, "renewed": renewed}
    for name, octets in files.items():
        (folder / f"{name}.pdf").write_bytes(octets)
    yield trust


def covered(pdf: bytes, embedded: Any) -> bytes:
    _, before, after, rest = map(int, embedded.byte_range)
    return pdf[:before] + pdf[after : after + rest]


def exact(embedded: Any) -> bytes:
    """Without the zeros that fill the place that was left for it."""
    octets: bytes = cms.ContentInfo.load(embedded.pkcs7_content).dump()
    return octets


def test_SIG_12_a_renewed_archive_is_good_when_signer_and_time_stamping_unit_have_expired(later: Later) -> None:
    pdf = (later.folder / "renewed.pdf").read_bytes()
    reader = _READER(BytesIO(pdf))
    (signature,), (old, new) = reader.embedded_regular_signatures, reader.embedded_timestamp_signatures
    then = later.stamped + YEARS
    assert signature.signer_cert.not_valid_after < old.signer_cert.not_valid_after < then
    assert new.signer_cert.sha256 != old.signer_cert.sha256
    assert later.pyhanko("renewed.pdf") == "AdESPassed.OK"
    said = later.ours("renewed.pdf")
    assert "TOTAL_PASSED" in said, said
    assert "B-LTA" in said, said


def test_SIG_12_openssl_verifies_the_last_stamp_then_and_the_signature_for_the_time_that_it_proves(
    later: Later,
) -> None:
    pdf = (later.folder / "renewed.pdf").read_bytes()
    reader = _READER(BytesIO(pdf))
    root = str(later.folder / "root.pem")
    for each, verdict in zip(reader.embedded_timestamp_signatures, ("FAILED", "OK"), strict=True):
        token, data = later.write("token", exact(each)), later.write("stamped", covered(pdf, each))
        verify = ("openssl", "ts", "-verify", "-token_in", "-in", token, "-data", data, "-CAfile", root)
        assert f"Verification: {verdict}" in later.run(*verify)
    signature = reader.embedded_regular_signatures[0]
    value, content = later.write("value", exact(signature)), later.write("content", covered(pdf, signature))
    out = later.write("out", b"")
    cms_verify = ["openssl", "cms", "-verify", "-cades", "-binary", "-inform", "DER", "-in", value]
    cms_verify += ["-content", content, "-CAfile", root, "-purpose", "any", "-out", out]
    later.run(*cms_verify)
    assert Path(out).read_bytes() == b"", "by its own clock the signer's certificate has expired"
    later.run(*cms_verify, "-attime", str(int(later.stamped.timestamp()) + 2))
    assert Path(out).read_bytes() == covered(pdf, signature)


def test_SIG_12_pdfsig_finds_every_signature_as_it_was_made(later: Later) -> None:
    said = later.run("pdfsig", "-nocert", str(later.folder / "renewed.pdf"))
    assert said.count("Signature Validation: Signature is Valid.") >= 1, said
    assert "Digest Mismatch" not in said


@pytest.mark.parametrize("name", ["stamped.pdf", "validatable.pdf", "archive.pdf"])
def test_SIG_12_without_archive_or_renewal_nothing_is_known_any_more(later: Later, name: str) -> None:
    said = later.ours(name)
    assert f"{name}: INDETERMINATE" in said, said
    if name == "archive.pdf":
        assert later.pyhanko(name).startswith("AdESIndeterminate.")
