"""The portal's catalogues: complete, compiled from what can be read, and with the same blanks to fill in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po

from portal.settings import LANGUAGES

WEB = Path(__file__).parents[3] / "portal" / "web"
TRANSLATED = LANGUAGES[1:]
METHODS = [("**.py", "python"), ("templates/**.html", "jinja2")]


def texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, (list, tuple)) else (str(value),)


def catalogue(language: str) -> Catalog:
    with (WEB / "locales" / language / "LC_MESSAGES" / "messages.po").open("rb") as file:
        return read_po(file, locale=language)


def messages(catalog: Catalog) -> dict[tuple[str, ...], tuple[str, ...]]:
    return {texts(item.id): texts(item.string) for item in catalog if item.id}


@pytest.fixture(scope="module")
def used() -> set[tuple[str, ...]]:
    found: Iterable[tuple[str, int, object, list[str], str | None]] = extract_from_dir(
        WEB, METHODS, strip_comment_tags=True
    )
    return {texts(item[2]) for item in found}


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_catalogue_has_every_text_of_the_pages_and_none_that_is_gone(
    language: str, used: set[tuple[str, ...]]
) -> None:
    assert set(messages(catalogue(language))) == used
    assert all(all(item) for item in messages(catalogue(language)).values())


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_translation_has_the_blanks_of_its_source(language: str) -> None:
    for source, translated in messages(catalogue(language)).items():
        wanted = set(re.findall(r"%\(\w+\)[sd]", source[-1]))
        assert [set(re.findall(r"%\(\w+\)[sd]", item)) for item in translated] == [wanted] * len(translated), source


@pytest.mark.parametrize("language", TRANSLATED)
def test_what_the_server_reads_is_what_people_can_read(language: str) -> None:
    with (WEB / "locales" / language / "LC_MESSAGES" / "messages.mo").open("rb") as file:
        assert messages(read_mo(file)) == messages(catalogue(language))
