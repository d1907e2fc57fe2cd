"""What an examination tells of a document that is not refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

ACTIVE: Final = frozenset(
    {
        "javascript",
        "launch_action",
        "uri_action",
        "submit_action",
        "import_action",
        "remote_action",
        "media_action",
        "automatic_action",
        "embedded_file",
        "multimedia",
    }
)
"""Codes of what does something when the document is opened or clicked on (ISO 32000-2 12.6, 7.11.4, 13)."""
APPEARANCE: Final = frozenset(
    {
        "optional_content",
        "external_content",
        "alternate_image",
        "font_not_embedded",
        "form_fields",
        "appearance_missing",
        "field_shows_other_value",
        "fields_changed",
        "hidden_annotation",
        "unused_content",
    }
)
"""Codes of what can make it look otherwise elsewhere or later, without a change to what was signed."""
MAX_PAGES_TOLD: Final = 100
"""Of each code: however often one is found, no other goes untold for it."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """Something that the signer is told before approval."""

    code: str
    """Of :data:`ACTIVE` or :data:`APPEARANCE`."""
    page: int | None = None
    """From 1; None: of the document."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page's box, in points of 1/72 inch, as it is before it is turned (ISO 32000-2 7.7.3.3)."""

    width: float
    height: float
    rotation: int
    """Degrees clockwise: 0, 90, 180 or 270."""
    left: float = 0.0
    """Of the box in the page's own coordinates; so is :attr:`bottom`."""
    bottom: float = 0.0


@dataclass(frozen=True, slots=True)
class PriorSignature:
    """A signature that the document already has: whole, and not changed behind beyond what it permits."""

    field: str
    kind: str
    """``approval``, ``certification`` or ``timestamp``."""
    signer: str
    """What its certificate says, which nobody has looked into: the subject's attributes."""
    whole_document: bool
    """Whether it covers all that is there."""


def _told(part: Finding | Page | PriorSignature) -> dict[str, object]:
    """Its members, which are plain."""
    return {name: getattr(part, name) for name in part.__slots__}


@dataclass(frozen=True, slots=True)
class Examination:
    """A document that may be signed, and what is to be said of it."""

    findings: tuple[Finding, ...]
    pages: tuple[Page, ...]
    signatures: tuple[PriorSignature, ...]
    objects: int
    version: str
    """Of PDF, as ``1.7``."""

    def to_json(self) -> bytes:
        """For the way out of a confined process."""
        # Not by the library's way through everything, which takes as long as a page.
        parts = {name: [_told(each) for each in getattr(self, name)] for name in ("findings", "pages", "signatures")}
        return json.dumps({**parts, "objects": self.objects, "version": self.version}).encode()

    @classmethod
    def from_json(cls, octets: bytes) -> Examination:
        """The reverse of :meth:`to_json`.

        :raises ValueError: it is none.
        """
        try:
            return cls.from_table(json.loads(octets))
        except (KeyError, TypeError) as error:
            raise ValueError("this is no examination") from error

    @classmethod
    def from_table(cls, table: dict[str, Any]) -> Examination:
        """The same of JSON that was read.

        :raises ValueError: it is none.
        """
        try:
            findings = tuple(Finding(each["code"], each["page"]) for each in table["findings"])
            pages = tuple(
                Page(each["width"], each["height"], each["rotation"], each["left"], each["bottom"])
                for each in table["pages"]
            )
            signatures = tuple(
                PriorSignature(each["field"], each["kind"], each["signer"], each["whole_document"])
                for each in table["signatures"]
            )
            return cls(findings, pages, signatures, table["objects"], table["version"])
        except (KeyError, TypeError) as error:
            raise ValueError("this is no examination") from error
