"""The catalogues of both sites: complete, compiled from what can be read, and with the same blanks to fill in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po

import idp.settings
import portal.settings

ROOT = Path(__file__).parents[3]
METHODS = [("**.py", "python"), ("templates/**.html", "jinja2")]
TRANSLATED = [
    (site, language)
    for site, languages in (("idp", idp.settings.LANGUAGES), ("portal", portal.settings.LANGUAGES))
    for language in languages[1:]
]


def texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, (list, tuple)) else (str(value),)


def compiled(site: str, language: str) -> Path:
    return ROOT / site / "web" / "locales" / language / "LC_MESSAGES" / "messages.mo"


@cache
def catalogue(site: str, language: str) -> Catalog:
    with compiled(site, language).with_suffix(".po").open("rb") as file:
        return read_po(file, locale=language)


def messages(catalog: Catalog) -> dict[tuple[str, ...], tuple[str, ...]]:
    return {texts(item.id): texts(item.string) for item in catalog if item.id}


@cache
def used(site: str) -> set[tuple[str, ...]]:
    found: Iterable[tuple[str, int, object, list[str], str | None]] = extract_from_dir(
        ROOT / site / "web", METHODS, strip_comment_tags=True
    )
    return {texts(item[2]) for item in found}


@pytest.mark.parametrize(("site", "language"), TRANSLATED)
def test_a_catalogue_has_every_text_of_the_pages_and_none_that_is_gone(site: str, language: str) -> None:
    assert set(messages(catalogue(site, language))) == used(site)
    assert all(all(item) for item in messages(catalogue(site, language)).values())


@pytest.mark.parametrize(("site", "language"), TRANSLATED)
def test_a_translation_has_the_blanks_of_its_source(site: str, language: str) -> None:
    for source, translated in messages(catalogue(site, language)).items():
        wanted = set(re.findall(r"%\(\w+\)[sd]", source[-1]))
        assert [set(re.findall(r"%\(\w+\)[sd]", item)) for item in translated] == [wanted] * len(translated), source


@pytest.mark.parametrize(("site", "language"), TRANSLATED)
def test_what_the_server_reads_is_what_people_can_read(site: str, language: str) -> None:
    with compiled(site, language).open("rb") as file:
        assert messages(read_mo(file)) == messages(catalogue(site, language))
