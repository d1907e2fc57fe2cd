"""What a person is shown where their device approves: one text, of which the page shows every line and nothing else.

Its SHA-256 is what the device signs as ``display``, so the page and the text cannot differ: the page is made of these
lines, each as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from idp.activation.intent import SignatureIntent
from idp.web.language import gettext as _
from idp.web.language import ngettext
from idp.web.services import CredentialView
from idp.web.wording import common_name, grouped, hash_name

Kind = Literal["title", "lead", "name", "stated", "seen", "label", "digest", "fact"]


@dataclass(frozen=True, slots=True)
class Line:
    """One line, and how it looks."""

    kind: Kind
    text: str


def of_signature(
    party: str,
    intent: SignatureIntent,
    credential: CredentialView,
    message: str = "",
    told: Sequence[Sequence[str]] = (),
) -> tuple[Line, ...]:
    """Who asks for a signature, on which documents, with which credential.

    :param message: what ties the request to what the person sees elsewhere.
    :param told: of each document, what is known of it; empty: of none is anything.
    """
    return tuple(_of_signature(party, intent, credential, message, told or [()] * len(intent.digests)))


def of_change(credential_id: str, added: str, removed: str) -> tuple[Line, ...]:
    """Which device of a credential's takes which one's place."""
    return (
        Line("title", _("Put another device in this one's place?")),
        Line("lead", _("If you approve, only the new device approves signatures with your credential.")),
        Line("fact", f"{_('Credential')}: {_flat(credential_id)}"),
        Line("fact", f"{_('New device')}: {added}"),
        Line("fact", f"{_('Device that goes')}: {removed}"),
    )


def digest_of(lines: tuple[Line, ...]) -> bytes:
    """SHA-256 of the text in UTF-8: the lines, with a line feed between."""
    return hashlib.sha256("\n".join(line.text for line in lines).encode()).digest()


def _of_signature(
    party: str, intent: SignatureIntent, credential: CredentialView, message: str, told: Sequence[Sequence[str]]
) -> Iterator[Line]:
    count = len(intent.digests)
    yield Line("title", _flat(_("%(party)s asks for your signature", party=party)))
    yield Line(
        "lead",
        ngettext(
            "If you approve, your key signs %(num)d document, once.",
            "If you approve, your key signs %(num)d documents, each once.",
            count,
        ),
    )
    if message:
        yield Line("fact", f"{_('Message')}: {_flat(message)}")
    name = hash_name(intent.hash_alg)
    label = (
        _("Digest of the document, %(algorithm)s", algorithm=name)
        if intent.hash_type == "sdr"
        else _("Digest of the data to be signed, %(algorithm)s", algorithm=name)
    )
    for number, (item, known) in enumerate(zip(intent.digests, told, strict=True), start=1):
        yield Line("name", f"{number}. {_flat(item.label) or _('Without a name')}")
        yield Line("stated", _flat(_("Name as stated by %(party)s", party=party)))
        yield from (Line("seen", _flat(text)) for text in known)
        yield Line("label", label)
        yield Line("digest", " ".join(grouped(item.digest)))
    yield Line("fact", f"{_('In the name of')}: {_flat(common_name(credential.subject))}")
    yield Line("fact", f"{_('Credential')}: {_flat(credential.credential_id)}")


def _flat(text: str) -> str:
    """What others named makes no line of its own."""
    return " ".join(text.split())
