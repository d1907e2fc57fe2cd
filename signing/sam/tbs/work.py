"""What the key signs: digests as they were authorised, or digests of what was built around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from signing.sam.tbs.common import Built, Signer
from signing.sam.tbs.request import Template


@dataclass(frozen=True, slots=True)
class Work:
    """What one request comes to."""

    digests: tuple[bytes, ...]
    """What the device is given, one a value."""
    built: tuple[Built, ...] = ()
    """Where they are digests of what was built here: that, in the same order."""


def built_work(templates: Sequence[Template], signer: Signer) -> Work:
    """The digests of what the templates give.

    :raises TemplateRefused: a document's digest is not one of the signer's hash function.
    """
    built = tuple(template.build(signer) for template in templates)
    return Work(tuple(signer.hashed(each.tbs) for each in built), built)
