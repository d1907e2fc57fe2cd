"""SIG-07: who is revoked or suspended signs no document; nor does anybody of whom nobody says that he is good."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from connectors.ports.status import StatusInvalid, StatusUnavailable
from foundation.certificates.reading import identity, read_anchors
from foundation.clock import FixedClock
from foundation.errors import SettingsError
from foundation.settings import from_table
from signing.ades.errors import CertificateRevoked, ChainNotTrusted, EvidenceMissing
from signing.csc import errors
from signing.csc.certificate_status import CertificateStatus
from signing.settings import StatusSettings
from tests import pki
from tests.fakes.status import UPDATED, FakeStatus
from tests.pki import NOW, Leaf

ROOT = pki.authority("Root")
ISSUING = ROOT.authority("Issuing")
ANA = ISSUING.issue(Leaf(uses=("content_commitment",), extended=None))
CHAIN = (ANA.der, ISSUING.der, ROOT.der)
SETTINGS = StatusSettings("fake", (Path("root.pem"),))
HOLD = x509.ReasonFlags.certificate_hold


class Bench:
    """A status over a source that a test changes, on a clock that it moves."""

    def __init__(self, **settings: Any) -> None:
        self.source = FakeStatus((ROOT, ISSUING))
        self.clock = FixedClock(NOW)
        chosen = replace(SETTINGS, **settings)
        self.status = CertificateStatus(self.source, (ROOT.certificate,), self.clock, chosen)


def test_who_is_good_may_sign() -> None:
    bench = Bench()
    bench.status.check(CHAIN)
    assert [asked for asked, _ in bench.source.asked] == [identity(ANA.certificate), identity(ISSUING.certificate)]


@pytest.mark.parametrize("gone", [ANA, ISSUING], ids=["person", "authority"])
@pytest.mark.parametrize(("reason", "words"), [(None, "is revoked"), (HOLD, "is suspended")])
def test_SIG_07_who_is_revoked_or_suspended_does_not_sign(
    gone: pki.Issued, reason: x509.ReasonFlags | None, words: str
) -> None:
    for unknown in ("refuse", "sign"):
        bench = Bench(unknown=unknown)
        bench.source.revoked = {identity(gone.certificate): reason}
        with pytest.raises(errors.InvalidRequest, match=words):
            bench.status.check(CHAIN)


def test_SIG_07_an_expired_certificate_does_not_sign_although_its_path_was_validated_before() -> None:
    bench = Bench()
    bench.clock = bench.status._clock = FixedClock(ANA.certificate.not_valid_after_utc - timedelta(seconds=2))
    bench.status.check(CHAIN)
    bench.clock.advance(3)
    with pytest.raises(errors.InvalidRequest, match="is expired"):
        bench.status.check(CHAIN)


@pytest.mark.parametrize("failure", [StatusUnavailable("down"), StatusInvalid("wrong_signer")])
def test_of_whom_nobody_says_anything_signs_only_where_the_operator_said_so(
    failure: StatusUnavailable | StatusInvalid,
) -> None:
    for unknown, refused in (("refuse", True), ("sign", False)):
        bench = Bench(unknown=unknown)
        bench.source.failure = failure
        if refused:
            with pytest.raises(errors.TemporarilyUnavailable, match="cannot be told"):
                bench.status.check(CHAIN)
        else:
            bench.status.check(CHAIN)


def test_a_chain_to_nobodys_anchor_is_as_one_of_which_nobody_says_anything() -> None:
    lost = pki.authority("Elsewhere").issue().der
    bench = Bench()
    with pytest.raises(errors.TemporarilyUnavailable):
        bench.status.check((lost,))
    with pytest.raises(EvidenceMissing) as missing:
        bench.status.of((lost,), None)
    assert isinstance(missing.value.__cause__, ChainNotTrusted)


def test_what_a_signature_carries_is_as_young_as_its_stamp_unless_the_operator_takes_what_is_published() -> None:
    later = UPDATED + timedelta(seconds=1)
    bench = Bench()
    assert len(bench.status.of(CHAIN, UPDATED).ocsps) == 2
    with pytest.raises(EvidenceMissing):
        bench.status.of(CHAIN, later)
    assert len(Bench(freshness="as_published").status.of(CHAIN, later).ocsps) == 2


def test_a_revoked_certificate_gets_no_validation_data() -> None:
    bench = Bench(freshness="as_published")
    bench.source.revoked = {identity(ANA.certificate): None}
    with pytest.raises(EvidenceMissing) as missing:
        bench.status.of(CHAIN, None)
    assert isinstance(missing.value.__cause__, CertificateRevoked)


def test_anchors_are_authorities_certificates_in_files_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "both.pem").write_bytes(ROOT.pem + ISSUING.pem + ROOT.pem)
    (tmp_path / "person.pem").write_bytes(ANA.pem)
    (tmp_path / "text.pem").write_bytes(b"text")
    assert read_anchors([tmp_path / "both.pem"], "x") == (ROOT.certificate, ISSUING.certificate)
    with pytest.raises(SettingsError) as refused:
        read_anchors([tmp_path / "text.pem", tmp_path / "person.pem", tmp_path / "none.pem"], "status.trust_anchors")
    assert len(refused.value.faults) == 3


@pytest.mark.parametrize(
    "changes", [{"trust_anchors": []}, {"unknown": "hope"}, {"freshness": "never"}, {"deadline": 1}, {"connector": 1}]
)
def test_settings_are_judged_at_the_start(changes: dict[str, Any]) -> None:
    table = {"connector": "http", "trust_anchors": ["root.pem"]}
    assert from_table(StatusSettings, table, base=Path("/etc")).trust_anchors == (Path("/etc/root.pem"),)
    with pytest.raises(SettingsError):
        from_table(StatusSettings, {**table, **changes}, base=Path("/etc"))
