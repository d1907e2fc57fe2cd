"""A module to test against: keys, anchors, policy, and SADs and orders that are right until a test breaks one thing."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from sqlalchemy import Engine

from contract import event as security_events
from contract import operation as operations
from contract import order as orders
from contract import sad as sads
from contract.event import EventName, SecurityEvent
from contract.order import CreateParameters, CredentialParameters, Operation, Order, Parameters, SubjectClaim
from contract.sad import EvidenceClaim, PolicyClaim, Sad, Succession
from foundation.clock import FixedClock, epoch
from foundation.jose import SigningKey, generate_signing_key
from signing.sam.activate import Activator
from signing.sam.algorithms import SHA256
from signing.sam.anchor import label_of
from signing.sam.credential import Credential, Floor, Profile
from signing.sam.custody import Custody, Seen
from signing.sam.lifecycle import Lifecycle
from signing.sam.operators import Operators
from signing.sam.orphans import Orphans
from signing.sam.ports import SignatureDevice
from signing.sam.revocation import RevocationMemory
from signing.sam.revoke import Revocations
from signing.sam.rewrap import Rewrapping
from signing.sam.rollback import RollbackAnchor
from signing.sam.store import Epoch, Store
from signing.sam.verify import SamPolicy, SignatureRequest
from signing.sam_app.checkpoints import SamCheckpoints
from signing.storage.engine import open_engine
from signing.storage.store import SqlStore
from tests.fakes.device import FakeDevice

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
ISSUER = "http://idp.localhost:8401"
SAM_ID = "urn:privyseal:sam:test"
REALM = "test"
CLIENT = "example-contracts"
SIGN_HASH = "https://sign.example.org/csc/v2/signatures/signHash"
ECDSA_SHA256 = "1.2.840.10045.4.3.2"
ALICE = SubjectClaim("Alice Example", "Alice", "Example", "PNOBE-85073003328", "BE")

FLOOR = Floor(loa="substantial", min_categories=2, max_sad_seconds=300, max_evidence_age_seconds=900)
PROFILES = {
    profile.name: profile
    for profile in (
        Profile("standard", "ec-p256", "2", "eu_eidas_aes", 100, FLOOR),
        Profile("p384", "ec-p384", "2", None, 100, FLOOR),
        Profile("pss", "rsa-3072-pss", "2", None, 100, FLOOR),
        Profile("pkcs1", "rsa-3072-pkcs1", "2", None, 100, FLOOR),
        Profile("scal1", "ec-p256", "1", None, 3, replace(FLOOR, loa="low", min_categories=1)),
        Profile("sole-control", "ec-p256", "2", None, 100, replace(FLOOR, signer_proof=True)),
        Profile("kept", "ec-p256", "2", None, 100, FLOOR, custody="token"),
        Profile("brought", "ec-p256", "2", None, 100, FLOOR, accepts_imports=True),
        Profile("brought-rsa", "rsa-3072-pss", "2", None, 100, FLOOR, accepts_imports=True),
        Profile("high", "ec-p256", "2", None, 100, replace(FLOOR, loa="high")),
    )
}


def digest(number: int, octets: int = 32) -> bytes:
    """A digest that is recognised in a failure's output."""
    return number.to_bytes(octets, "big")


class Authority:
    """A root that issues signers' certificates."""

    def __init__(self, now: datetime = NOW, name: str = "Example Test Root") -> None:
        self.now = now
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self.ca(self.name, self.key.public_key())

    def ca(self, subject: x509.Name, key: Any, **changes: Any) -> x509.Certificate:
        """A CA's certificate."""
        builder = self._builder(subject, key, **changes)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=changes.get("path_length")), True)
        return builder.add_extension(key_usage(key_cert_sign=True), True).sign(self.key, hashes.SHA256())

    def issue(self, request: bytes, **changes: Any) -> bytes:
        """A signer's certificate for a PKCS#10 request; ``changes`` break one thing."""
        csr = x509.load_der_x509_csr(request)
        assert csr.is_signature_valid
        builder = self._builder(changes.get("subject", csr.subject), changes.get("key", csr.public_key()), **changes)
        builder = builder.add_extension(x509.BasicConstraints(ca=changes.get("is_ca", False), path_length=None), True)
        if usage := changes.get("usage", key_usage(content_commitment=True)):
            builder = builder.add_extension(usage, True)
        for extension in changes.get("extensions", ()):
            builder = builder.add_extension(extension, True)
        certificate = builder.sign(changes.get("signed_by", self.key), changes.get("hash", hashes.SHA256()))
        return certificate.public_bytes(Encoding.DER)

    def chain(self, request: bytes) -> list[bytes]:
        """A signer's certificate with those above it, up to this authority's own."""
        return [self.issue(request)]

    def _builder(self, subject: x509.Name, key: Any, /, **changes: Any) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(changes.get("issuer", self.name))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(changes.get("not_before", self.now - timedelta(days=1)))
            .not_valid_after(changes.get("not_after", self.now + timedelta(days=365)))
        )


def key_usage(**set_bits: bool) -> x509.KeyUsage:
    """Key usage with these bits."""
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: set_bits.get(name, False) for name in names})


@dataclass
class World:
    """Everything around one module."""

    device: SignatureDevice
    store: Store
    engine: Engine
    clock: FixedClock
    idp_key: SigningKey
    authority: Authority
    policy: SamPolicy
    url: str
    seen: Seen = field(default_factory=Seen)
    """What one process remembers: all parts made here are of one, until a test gives another."""
    memory: RevocationMemory = field(default_factory=RevocationMemory)
    """The same, of revocations."""
    operator_keys: tuple[SigningKey, ...] = ()
    """Of the operators whom the token's anchor names."""
    anchor: RollbackAnchor = field(init=False)

    def __post_init__(self) -> None:
        self.anchor = RollbackAnchor(
            self.device,
            self.store,
            REALM,
            clock=self.clock,
            restored=self.seen.forget_versions,
            seen=self.seen.versions,
            pause=lambda _seconds: None,
        )

    def raise_epoch(self, store: Store | None = None) -> Epoch:
        """As a restore does, on nobody's word."""
        after = self.anchor.latest().epoch
        with self.anchor.changing(lambda anchor: anchor, restoring=True) as anchoring:
            return (store or self.store).raise_epoch(self.clock.now(), after=after, anchoring=anchoring)

    def operators(self, **changes: Any) -> Operators:
        """What carries operators' operations out."""
        policy = changes.pop("policy", self.policy)
        custody, lifecycle = self.custody(**changes), self.lifecycle(**changes)
        return Operators(
            changes.get("store", self.store), policy, custody=custody, lifecycle=lifecycle, clock=self.clock
        )

    def orphans(self, elapsed: Callable[[], float] | None = None) -> Orphans:
        """What destroys keys that no credential has."""
        assert isinstance(self.store, SqlStore)
        return Orphans(
            self.device,
            self.store,
            REALM,
            custody=self.custody(),
            clock=self.clock,
            grace_seconds=60,
            elapsed=elapsed or (lambda: self.now),
        )

    def rewrapping(self, **changes: Any) -> Rewrapping:
        """What wraps keys anew."""
        device, store = changes.get("device", self.device), changes.get("store", self.store)
        return Rewrapping(
            device,
            store,
            custody=self.custody(**changes),
            lifecycle=self.lifecycle(**changes),
            operators=self.operators(**changes),
            clock=self.clock,
        )

    def operation(self, name: str, signers: int = 2, keys: Sequence[SigningKey] | None = None, **changes: Any) -> str:
        """An operation by as many operators, right until changed; what is no claim is a parameter."""
        claims = {claim: changes.pop(claim) for claim in ("aud", "jti", "iat", "exp") if claim in changes}
        content = {
            "aud": SAM_ID,
            "jti": secrets.token_hex(8),
            "iat": self.now,
            "exp": self.now + 600,
            **claims,
        }
        first, *more = (self.operator_keys if keys is None else keys)[:signers]
        bundle = operations.sign(operations.Operation(operation=name, parameters=changes, **content), first)
        for key in more:
            bundle = operations.add_signature(bundle, key)
        return bundle

    @property
    def fake(self) -> FakeDevice:
        """The device, where it is the fake."""
        assert isinstance(self.device, FakeDevice)
        return self.device

    @property
    def now(self) -> int:
        """NumericDate of the clock."""
        return epoch(self.clock.now())

    def checkpoints(self) -> SamCheckpoints:
        """What signs where the audit chain stands."""
        assert isinstance(self.store, SqlStore)
        return SamCheckpoints(self.device, self.store, REALM, clock=self.clock)

    def custody(self, **changes: Any) -> Custody:
        """What opens rows."""
        device, store = changes.get("device", self.device), changes.get("store", self.store)
        return Custody(device, store, REALM, clock=self.clock, anchor=self.anchor, seen=self.seen)

    def revocations(self, **changes: Any) -> Revocations:
        """What takes events in."""
        device, store, policy = (changes.get(name, getattr(self, name)) for name in ("device", "store", "policy"))
        return Revocations(device, store, policy, clock=self.clock, memory=self.memory)

    def activator(self, **changes: Any) -> Activator:
        """A signing node; ``changes`` put other parts in."""
        parts: dict[str, Any] = {"device": self.device, "store": self.store, "policy": self.policy, **changes}
        parts.setdefault("custody", self.custody(**changes))
        parts.setdefault("revocations", self.revocations(**changes))
        device, store, policy = parts.pop("device"), parts.pop("store"), parts.pop("policy")
        parts.setdefault("clock", self.clock)
        return Activator(device, store, policy, random=secrets.token_bytes, **parts)

    def lifecycle(self, **changes: Any) -> Lifecycle:
        """What changes credentials."""
        parts: dict[str, Any] = {"device": self.device, "store": self.store, "policy": self.policy, **changes}
        return Lifecycle(
            parts["device"],
            parts["store"],
            parts["policy"],
            custody=self.custody(**changes),
            anchors=changes.get("anchors", [self.authority.certificate]),
            clock=self.clock,
            random=secrets.token_bytes,
        )

    def order(self, operation: Operation = "credential.create", **changes: Any) -> Order:
        """An order that is right, until changed."""
        parameters: Parameters = CreateParameters("standard", ALICE)
        if operation not in {"credential.create", "credential.bind_proof_key", "credential.remove_proof_key"}:
            parameters = CredentialParameters(changes.pop("credential_id"))
        order = Order(
            iss=ISSUER,
            aud=SAM_ID,
            sub="alice",
            jti=secrets.token_hex(8),
            iat=self.now,
            exp=self.now + 600,
            operation=operation,
            parameters=parameters,
            policy="decision-1",
        )
        return replace(order, **changes)

    def order_token(self, operation: Operation = "credential.create", **changes: Any) -> str:
        """The same, signed."""
        return orders.encode(self.order(operation, **changes), self.idp_key)

    def event(self, event: EventName, subject: str, **changes: Any) -> SecurityEvent:
        """A security event that is right, until changed."""
        made = SecurityEvent(
            iss=ISSUER,
            aud=SAM_ID,
            jti=secrets.token_hex(8),
            iat=self.now,
            event=event,
            subject=subject,
            not_before=self.now,
        )
        return replace(made, **changes)

    def event_token(self, event: EventName, subject: str, **changes: Any) -> str:
        """The same, signed."""
        return security_events.encode(self.event(event, subject, **changes), self.idp_key)

    def credential(self, owner: str = "alice", profile: str = "standard") -> Credential:
        """An active credential."""
        pending = self.lifecycle().create(self.order_token(sub=owner, parameters=CreateParameters(profile, ALICE)))
        return self.lifecycle().link(pending.id, [self.authority.issue(pending.request)])

    def sad(self, credential: Credential, digests: tuple[bytes, ...] = (digest(1),), **changes: Any) -> Sad:
        """A SAD that is right, until changed."""
        sad = Sad(
            iss=ISSUER,
            aud=SAM_ID,
            sub=credential.owner,
            client_id=CLIENT,
            txn=secrets.token_hex(8),
            jti=secrets.token_hex(8),
            iat=self.now,
            exp=self.now + 300,
            credential_id=credential.id,
            hash_alg=SHA256,
            dtbsr=digests,
            hash_type="dtbsr",
            sign_count=len(digests) or 1,
            acr="urn:example:substantial",
            loa="substantial",
            amr=("pwd", "sms"),
            auth_time=self.now - 60,
            evidence=(evidence("password", "knowledge", self.now - 60), evidence("sms_otp", "possession", self.now)),
            policy=PolicyClaim("default", "ab" * 32, "decision-2"),
        )
        return replace(sad, **changes)

    def successor(self, sad: Sad, **changes: Any) -> Sad:
        """A SAD in another one's place, as the identity provider mints it now."""
        before = () if sad.supersedes is None else sad.supersedes.jtis
        made = replace(
            sad,
            jti=secrets.token_hex(8),
            iat=self.now,
            exp=self.now + 300,
            supersedes=Succession(sad.since, (*before, sad.jti)),
        )
        return replace(made, **changes)

    def request(self, sad: Sad, **changes: Any) -> SignatureRequest:
        """A request for everything that the SAD authorises, until changed."""
        request = SignatureRequest(
            sad=sads.encode(sad, self.idp_key),
            client_id=CLIENT,
            credential_id=sad.credential_id,
            hash_alg=SHA256,
            digests=sad.dtbsr,
            sign_algo=ECDSA_SHA256,
        )
        return replace(request, **changes)


def evidence(factor: str, category: Any, at: int, *, user_verified: bool = False) -> EvidenceClaim:
    """One authenticator's use."""
    return EvidenceClaim(factor, category, at, f"{factor}-1", False, user_verified, factor == "sms_otp", True)


def make_world(url: str, device: SignatureDevice | None = None, wrap: Callable[[Store], Store] | None = None) -> World:
    """A module on a fresh database."""
    engine = open_engine(url)
    store = SqlStore(engine)
    store.initialise(REALM, NOW - timedelta(days=1))
    idp_key = generate_signing_key()
    policy = SamPolicy(
        realm=REALM,
        sam_id=SAM_ID,
        issuers={ISSUER: (idp_key.verification_key(),)},
        profiles=PROFILES,
        epoch_not_before=0,
        dpop_htu=(SIGN_HASH,),
    )
    device, operator_keys = device or FakeDevice(), (generate_signing_key(), generate_signing_key("Ed25519"))
    public = [operations.operator_key(key.verification_key().as_jwk()) for key in operator_keys]
    for value in device.read_data(label_of(REALM)):
        device.remove_data(label_of(REALM), value)  # of another world on the same device
    RollbackAnchor(device, store, REALM, clock=FixedClock(NOW)).establish(public)
    return World(
        device=device,
        operator_keys=operator_keys,
        store=wrap(store) if wrap else store,
        engine=engine,
        clock=FixedClock(NOW),
        idp_key=idp_key,
        authority=Authority(),
        policy=policy,
        url=url,
    )
