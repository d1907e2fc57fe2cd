"""Parts of signatures and documents, for the report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from asn1crypto import cms
from asn1crypto import x509 as asn1_x509
from pyhanko.sign.general import extract_certificate_info
from pyhanko.sign.validation.generic_cms import extract_tst_data_iter

from signing.ades.validate.reading import FAULTS, Embedded

_MAX_TEXT: Final = 500
Chain = tuple[asn1_x509.Certificate, ...]
"""From the end entity up."""


def leaf_of(signed: cms.SignedData) -> Chain:
    """Only the certificate that it names, where no chain leads from it."""
    try:
        return (extract_certificate_info(signed).signer_cert,)
    except FAULTS:
        return ()


def stamped_parts(each: Embedded) -> Iterator[bytes]:
    """What later time-stamps over the file cover of a signature: its value, its certificates, its own time-stamps."""
    yield each.value
    for choice in each.signed["certificates"]:
        yield choice.chosen.dump()
    for stamp in extract_tst_data_iter(each.signature.signer_info, signed=False):
        yield stamp["signer_infos"][0]["signature"].native
        for choice in stamp["certificates"]:
            yield choice.chosen.dump()


def covers_whole(each: Embedded | None) -> bool | None:
    """Whether nothing comes after it; None where that is not known."""
    return None if each is None or each.modifications is None else each.modifications.covers_whole_file


def form_of(each: Embedded) -> str:
    """The SubFilter, without its slash."""
    return printable(each.subfilter.removeprefix("/")) or "unknown"


def stated(dictionary: Any, key: str) -> str | None:
    """What the signature dictionary says under a name."""
    found = dictionary.get(key)
    return None if found is None else printable(str(found))


def printable(found: str) -> str:
    """What somebody wrote into the document, without what a terminal or log would act upon."""
    return "".join(each if each.isprintable() else " " for each in found[:_MAX_TEXT])


def algorithm_of(identifier: Any, chain: Chain) -> str:
    """With the key's curve or size."""
    name = str(identifier["algorithm"].native)
    if not chain:
        return name
    key = chain[0].public_key
    return f"{name} ({key.curve[1] if key.algorithm == 'ec' else key.bit_size})"


def pages_of(reader: Any) -> int | None:
    """How many pages the document says that it has."""
    try:
        return int(reader.root["/Pages"]["/Count"])
    except FAULTS:
        return None
