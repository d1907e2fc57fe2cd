"""Certificates for both ends of the link over TLS."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from foundation.clock import SystemClock
from foundation.files import write_secret
from signing.link.tls import TlsFiles

DAY = timedelta(days=1)


class End:
    """A key and a certificate in files."""

    def __init__(
        self,
        directory: Path,
        name: str,
        *,
        days: tuple[int, int] = (-1, 30),
        issuer: End | None = None,
        password: bytes = b"",
    ) -> None:
        """:param days: from when to when the certificate is valid, counted from today."""
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now: datetime = SystemClock().now().astimezone(UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name((issuer or self).name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + days[0] * DAY)
            .not_valid_after(now + days[1] * DAY)
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
            .sign((issuer or self).key, hashes.SHA256())
        )
        self.certificate_file, self.key_file = directory / f"{name}.pem", directory / f"{name}.key"
        self.certificate_file.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        hidden = BestAvailableEncryption(password) if password else NoEncryption()
        write_secret(self.key_file, self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden))

    def knows(self, *others: End) -> TlsFiles:
        """This end, with the others' certificates pinned."""
        return TlsFiles(self.certificate_file, self.key_file, tuple(each.certificate_file for each in others))
