"""What the HSM's side counted against what ledger and audit chain say: no double, no signature without its intent."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from sqlalchemy import Engine, select

from auditlog.chain import verify
from auditlog.sql import read_entries
from signing.sam import events
from signing.storage.tables import audit, outcomes, positions, redemptions
from tests.shim import Shim, of_digest

OUTCOMES = (events.SIGNATURE_CONSUMED, events.SIGNATURE_RELEASED, events.SIGNATURE_INDETERMINATE)


@dataclass
class Oracle:
    """One run, in which every position authorises another digest: so a digest is a position."""

    shim: Shim
    engine: Engine
    birth: int = 0
    """Signatures with users' keys before the run: of their PKCS#10 requests, say."""
    chain: int = 0
    """Audit records before the run."""
    released: list[tuple[str, str]] = field(default_factory=list)
    """What clients were given: digest and value, as the journal writes them (P-256)."""

    def begin(self) -> None:
        """From now on; nothing is being signed."""
        self.birth = len(self.shim.signatures())
        assert self.birth == len(self.shim.sent())
        with self.engine.connect() as connection:
            self.chain = len(list(read_entries(connection, audit.entries)))

    def release(self, digests: Collection[bytes], values: Collection[bytes]) -> None:
        """A client was given these."""
        self.released.extend(zip(map(of_digest, digests), map(journal_value, values), strict=True))

    def sent(self) -> Counter[str]:
        """What the module was handed to sign: at least what it signed."""
        return Counter(each.data for each in self.shim.sent()[self.birth :])

    def signed(self) -> Counter[str]:
        """What it has written down as signed."""
        return Counter(each.data for each in self.shim.signatures()[self.birth :])

    def state(self, txn: str) -> str:
        """Of the approval's one redemption that counts: ``open``, a state, or empty where there is none."""
        joined = select(outcomes.c.state, redemptions.c.id).select_from(
            redemptions.outerjoin(outcomes, redemptions.c.id == outcomes.c.redemption_id)
        )
        with self.engine.connect() as connection:
            rows = connection.execute(joined.where(redemptions.c.txn == txn)).all()
        (state,) = [row.state or "open" for row in rows if row.state != "released"] or [""]
        return str(state)

    def verify(self) -> None:
        """Nothing is being signed any more, and the reconciler has been there.

        :raises AssertionError: a digest was signed twice, or signed without an intent of its own, or released without
            its outcome; or ledger and chain do not agree.
        """
        with self.engine.connect() as connection:
            entries = list(read_entries(connection, audit.entries))
            taken = Counter(row[0] for row in connection.execute(select(positions.c.redemption_id)))
        verify(entries)
        entries = entries[self.chain :]
        intents = {
            fields["redemption"]: [of_digest(bytes.fromhex(each)) for each in fields["digests"]]
            for fields in (json.loads(entry.fields) for entry in entries if entry.event == events.SIGNATURE_INTENT)
        }
        assert len(intents) == len([entry for entry in entries if entry.event == events.SIGNATURE_INTENT])
        outcome = Counter(
            (json.loads(entry.fields)["redemption"], entry.event) for entry in entries if entry.event in OUTCOMES
        )
        # One intent and one outcome each.
        assert Counter(redemption for redemption, _event in outcome.elements()) == Counter(intents.keys())
        of = {event: {name for name, each in outcome if each == event} for event in OUTCOMES}
        unspent = of[events.SIGNATURE_RELEASED]
        intended = Counter(each for name, digests in intents.items() if name not in unspent for each in digests)
        spent = Counter({name: len(digests) for name, digests in intents.items() if name not in unspent})
        assert Counter({name: count for name, count in taken.items() if name in intents}) == spent
        sent, signed = self.sent(), self.signed()
        assert set(sent.values()) | set(intended.values()) <= {1}
        assert signed <= sent <= intended
        consumed = Counter(each for name in of[events.SIGNATURE_CONSUMED] for each in intents[name])
        assert consumed <= signed
        assert Counter(data for data, _value in self.released) <= consumed
        made = {(each.data, each.value) for each in self.shim.signatures()}
        assert set(self.released) <= made


def journal_value(value: bytes) -> str:
    """As the journal writes it: CKM_ECDSA gives r and s side by side."""
    return hashlib.sha256(b"".join(part.to_bytes(32, "big") for part in decode_dss_signature(value))).hexdigest()
