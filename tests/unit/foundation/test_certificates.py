"""What is remembered of certificates: by their octets, and never of one that was refused."""

from __future__ import annotations

import pytest

from foundation.certificates.errors import CertificateRefused
from foundation.certificates.reading import identity, read
from tests import pki


def test_a_certificate_is_read_by_its_very_octets() -> None:
    root = pki.authority("Root")
    ana, other = root.issue(), root.issue()
    for issued in (ana, other, ana):
        assert read(issued.der) == issued.certificate
        assert read(bytes(bytearray(issued.der))).serial_number == issued.certificate.serial_number
    assert identity(read(ana.der)) != identity(read(other.der))


def test_what_is_no_certificate_is_refused_each_time_whatever_was_read_before() -> None:
    der = pki.authority("Root").issue().der
    read(der)
    for octets in (der + b"\0", der[:-1], b"", der[:4] + b"\0" + der[5:], der + b"\0"):
        with pytest.raises(CertificateRefused):
            read(octets)
