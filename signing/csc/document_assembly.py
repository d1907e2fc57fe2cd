"""Documents before and after the activation module: what can be signed is prepared, what was signed is assembled.

Knows the formats and their levels (ETSI EN 319 122-1, EN 319 142-1); nothing of who asks.

All that a request's signatures need from others is asked for in one round after the other: the stamps over the values,
then, once, what is said of the certificates, so that it is not older than any stamp; then the stamps over the files.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol, TypeVar

from connectors.ports.tsa import TimestampToken
from signing.ades import pades
from signing.ades.cms import SignedByModule, room_for, signed_data
from signing.ades.errors import (
    AppearanceNotAcceptable,
    DocumentNotAcceptable,
    EvidenceMissing,
    FieldNotAcceptable,
    SignatureTooLarge,
    TokenUnreadable,
)
from signing.ades.long_term import TOKEN_OCTETS, with_document_timestamp, with_validation_data
from signing.ades.pades import DEFAULT_PERMISSIONS, PreparedPdf, Wanted
from signing.ades.validation_data import ValidationData, certificates_of
from signing.csc import errors
from signing.csc.document_requests import ALL_LEVELS, ARCHIVED, BASIC, STAMPED, VALIDATABLE, Wish
from signing.csc.stamper import Stamper, TimestampRequest
from signing.link.documents import SignedDocument

_AT_ONCE: Final = 4
"""Stamps that a request asks for at one time."""
_SIGNATURE_OCTETS: Final = 512
"""Of the longest value of a key that is offered."""
T = TypeVar("T")


class Evidence(Protocol):
    """Finds what validates a signature; see :mod:`signing.csc.certificate_status`."""

    def of(self, certificates: Sequence[bytes], since: datetime | None) -> ValidationData:
        """The path of a certificate to a trust anchor, and what is said of each on it.

        :param certificates: DER, the end entity's first.
        :param since: aware; what is said of the end entity is not to be older.
        :raises EvidenceMissing: it is not to be had now, or not freshly enough.
        """
        ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """A wish that can be carried out."""

    wish: Wish
    pdf: PreparedPdf | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Signed:
    """A wish of which the module has done its part."""

    prepared: Prepared
    document: SignedDocument


@dataclass(frozen=True, slots=True)
class Assembled:
    """What is given out for one wish."""

    octets: bytes = field(repr=False)
    """The signed PDF, or the signature."""
    level: str
    """Reached: that of the wish, or a lower one where the wish allows it."""
    is_pdf: bool
    validation_data: ValidationData = field(default_factory=ValidationData)
    """What was found for the signature's certificates; empty below B-LT."""
    token: bytes | None = field(default=None, repr=False)
    """DER: the time-stamp over the value."""


def prepare(wish: Wish, chain: tuple[bytes, ...], at: datetime) -> Prepared:
    """What the module is to sign.

    :param at: aware; the time of signing that a PDF states.
    :raises errors.InvalidRequest: the document cannot be signed as it is wished.
    """
    if wish.form != "P" or wish.document is None:
        return Prepared(wish)
    try:
        pdf = pades.prepare(
            wish.document,
            chain[0],
            hash_name=wish.hash_name,
            room=_room(wish, chain),
            at=at,
            wanted=_wanted(wish),
        )
    except DocumentNotAcceptable as error:
        raise errors.InvalidRequest(errors.NOT_SIGNABLE) from error
    except (FieldNotAcceptable, AppearanceNotAcceptable) as error:
        raise wish.properties.blamed(error) from error
    return Prepared(wish, pdf)


def _wanted(wish: Wish) -> Wanted:
    properties = wish.properties
    return Wanted(
        stated=properties.stated,
        certify=wish.envelope == "Certification",
        permissions=properties.permissions or DEFAULT_PERMISSIONS,
        place=properties.place,
        look=properties.look,
        timestamped=wish.level != BASIC and not wish.lower,
    )


def _room(wish: Wish, chain: tuple[bytes, ...]) -> int:
    token = 0 if wish.level == BASIC else TOKEN_OCTETS
    return room_for(chain, signature_octets=_SIGNATURE_OCTETS, timestamp_octets=token)


@dataclass(frozen=True, slots=True)
class _Made:
    """On its way through the levels."""

    signed: Signed
    level: str = BASIC
    token: TimestampToken | None = None
    octets: bytes = b""

    def wants(self, level: str) -> bool:
        """The level is the next one, and wished."""
        wished, this = ALL_LEVELS.index(self.signed.prepared.wish.level), ALL_LEVELS.index(level)
        return this <= wished and ALL_LEVELS.index(self.level) == this - 1


@dataclass(frozen=True, slots=True)
class Assembly:
    """What signatures are assembled with."""

    stamper: Stamper
    evidence: Evidence | None
    chain: tuple[bytes, ...]
    """The signer's, hers first."""
    given_up: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    """No authority gave a stamp to one of the request's signatures: the others do not wait for the same."""

    def assemble(self, signed: Sequence[Signed]) -> list[Assembled]:
        """All of a request, in its order.

        :raises errors.TemporarilyUnavailable: a level is not reached now whose wish allows no lower one.
        """
        stamped = _side_by_side(self._stamped, STAMPED, [_Made(each) for each in signed])
        made = [self._filled(each) for each in stamped]
        data = self._validation_data(made)
        done = _side_by_side(self._archived, ARCHIVED, [self._validatable(each, data) for each in made])
        return [_assembled(each, data) for each in done]

    def _stamped(self, made: _Made) -> _Made:
        def stamp() -> _Made:
            # EN 319 122-1 5.3: over the value's octets.
            token = self._stamp(hashlib.sha256(made.signed.document.value).digest())
            return replace(made, token=token, level=STAMPED)

        return _or_lower(made, STAMPED, stamp)

    def _filled(self, made: _Made) -> _Made:
        wish, pdf, document = made.signed.prepared.wish, made.signed.prepared.pdf, made.signed.document
        by_module = SignedByModule(document.tbs, document.value, self.chain)
        stamp = None if made.token is None else made.token.der
        if pdf is not None:
            try:
                return replace(made, octets=pdf.filled(signed_data(by_module, timestamp=stamp)))
            except SignatureTooLarge as error:
                # A stamp larger than was reckoned with; or the PDF was prepared when none was wished for, and kept.
                if made.token is not None and wish.lower:
                    return self._filled(replace(made, token=None, level=BASIC))
                raise errors.TemporarilyUnavailable(errors.NO_STAMP) from error
        attached = wish.document if wish.envelope == "Attached" else None
        return replace(made, octets=signed_data(by_module, content=attached, timestamp=stamp))

    def _validation_data(self, made: Sequence[_Made]) -> ValidationData | errors.TemporarilyUnavailable:
        """What is found or, where nothing is, what is to be said then."""
        tokens = [each.token for each in made if each.token is not None and each.wants(VALIDATABLE)]
        if not tokens:
            return ValidationData()
        if self.evidence is None:
            return errors.TemporarilyUnavailable(errors.NO_EVIDENCE)
        try:
            # SIG-06: what was said before the last stamp does not say that the certificate was good then.
            found = self.evidence.of(self.chain, max(token.at for token in tokens))
            for unit in dict.fromkeys(certificates_of(token.der) for token in tokens):
                found |= self.evidence.of(unit, None)
        except (EvidenceMissing, TokenUnreadable):
            return errors.TemporarilyUnavailable(errors.NO_EVIDENCE)
        return found

    def _validatable(self, made: _Made, data: ValidationData | errors.TemporarilyUnavailable) -> _Made:
        def add() -> _Made:
            if isinstance(data, errors.TemporarilyUnavailable):
                raise data
            return replace(made, octets=with_validation_data(made.octets, data), level=VALIDATABLE)

        return _or_lower(made, VALIDATABLE, add)

    def _archived(self, made: _Made) -> _Made:
        def archive() -> _Made:
            try:
                stamped = with_document_timestamp(made.octets, lambda digest: self._stamp(digest).der)
            except SignatureTooLarge as error:
                raise errors.TemporarilyUnavailable(errors.NO_STAMP) from error
            return replace(made, octets=stamped, level=ARCHIVED)

        return _or_lower(made, ARCHIVED, archive)

    def _stamp(self, digest: bytes) -> TimestampToken:
        if self.given_up.is_set():
            raise errors.TemporarilyUnavailable(errors.NO_STAMP)
        try:
            return self.stamper.stamp(TimestampRequest(digest, "sha256", None))
        except errors.TemporarilyUnavailable:
            self.given_up.set()
            raise


def _side_by_side(step: Callable[[_Made], _Made], level: str, made: Sequence[_Made]) -> list[_Made]:
    """What waits for authorities, for some signatures at a time: where there are several that want the level."""
    if sum(each.wants(level) for each in made) < 2:
        return [step(each) for each in made]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="stamps") as pool:
        return list(pool.map(step, made))


def _or_lower(made: _Made, level: str, step: Callable[[], _Made]) -> _Made:
    """A step up to a level, if it is the next and wished; what was made, if the step fails and the wish allows that."""
    if not made.wants(level):
        return made
    try:
        return step()
    except errors.TemporarilyUnavailable:
        if made.signed.prepared.wish.lower:
            return made
        raise


def _assembled(made: _Made, data: ValidationData | errors.TemporarilyUnavailable) -> Assembled:
    validated = ALL_LEVELS.index(made.level) >= ALL_LEVELS.index(VALIDATABLE)
    found = data if validated and isinstance(data, ValidationData) else ValidationData()
    token = None if made.token is None else made.token.der
    return Assembled(made.octets, made.level, made.signed.prepared.pdf is not None, found, token)


def validation_info(evidence: Evidence, chain: Sequence[bytes], made: Sequence[Assembled]) -> ValidationData:
    """What validates a request's signatures and their time-stamps, whichever their level.

    :raises errors.TemporarilyUnavailable: it is not to be had now.
    """
    found, rest = ValidationData(), [each for each in made if not each.validation_data.certificates]
    for each in made:
        found |= each.validation_data
    try:
        if rest:
            found |= evidence.of(chain, None)
        for unit in dict.fromkeys(certificates_of(each.token) for each in rest if each.token is not None):
            found |= evidence.of(unit, None)
    except EvidenceMissing as error:
        raise errors.TemporarilyUnavailable(errors.NO_EVIDENCE) from error
    return found
