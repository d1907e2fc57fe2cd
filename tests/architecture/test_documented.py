"""What an operator or a client can say, and what they can be answered, stands in the documents."""

from __future__ import annotations

import argparse
import configparser
import dataclasses
import re
import typing
from collections.abc import Iterator, Mapping

import pytest

import anchoring.cli
import anchoring.evidence_cli
import archive.command
import auditlog.cli
import clients.csc.sign.cli
import idp.app  # which imports every module that has a table
import idp.cli.administration
import idp.cli.people
import idp.cli.policy
import operators.cli
import portal.cli
import signing.enrolment.cli
import signing.extension.command
import signing.sam_cli
import signing.validation.command
from idp.storage.models import metadata
from launcher import cli, dev
from portal.settings import PortalSettings
from signing.csc import core, errors, methods
from signing.csc.dialect import V1, V2, V2_2
from signing.sam_settings import SamSettings
from signing.settings import WebSettings
from tests.architecture.source import ROOT

PARSERS = {
    "account": (idp.cli.people.parser, ("identity-provider.md",)),
    "ades": (signing.extension.command.parser, ("long-term.md",)),
    "anchor": (anchoring.cli._parser, ("audit-events.md",)),
    "audit": (auditlog.cli._parser, ("audit-events.md",)),
    "backup idp": (lambda: archive.command.backup_parser("idp"), ("backup.md",)),
    "backup key": (archive.command.key_parser, ("backup.md",)),
    "backup portal": (lambda: archive.command.backup_parser("portal"), ("backup.md",)),
    "backup sam": (lambda: archive.command.backup_parser("sam"), ("backup.md",)),
    "backup verify": (archive.command.verify_parser, ("backup.md",)),
    "credential": (signing.enrolment.cli._parser, ("signing.md",)),
    "evidence": (anchoring.evidence_cli._parser, ("evidence.md",)),
    "idp": (idp.cli.administration.parser, ("identity-provider.md", "certificates.md", "csc.md", "evidence.md")),
    "policy": (idp.cli.policy.parser, ("policy-language.md", "policy-tools.md", "policy-operations.md")),
    "operator": (operators.cli._parser, ("operators.md",)),
    "portal": (portal.cli.parser, ("portal.md",)),
    "restore idp": (lambda: archive.command.restore_parser("idp"), ("backup.md",)),
    "restore portal": (lambda: archive.command.restore_parser("portal"), ("backup.md",)),
    "restore sam": (lambda: archive.command.restore_parser("sam"), ("backup.md",)),
    "sign": (clients.csc.sign.cli.parser, ("sign.md",)),
    "sam": (signing.sam_cli._parser, ("signing.md", "evidence.md")),
    "validate": (signing.validation.command.parser, ("validation.md",)),
}
"""Command lines, and where they are described."""


def text(*names: str) -> str:
    return "\n".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in names)


def keys(cls: type[typing.Any], prefix: str = "") -> Iterator[str]:
    """Keys of a settings class; a table of named tables has ``<name>`` in the place of the name."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        key = f"{prefix}{field.name}"
        if typing.get_origin(hint) in {dict, Mapping} and typing.get_args(hint)[1] is not typing.Any:
            key, hint = f"{key}.<name>", typing.get_args(hint)[1]
        nested = [kind for kind in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(kind)]
        if nested:
            yield from keys(typing.cast("type[typing.Any]", nested[0]), f"{key}.")
        else:
            yield key


@pytest.mark.parametrize("settings", [SamSettings, WebSettings])
def test_every_setting_of_the_signing_side_is_documented(settings: type[typing.Any]) -> None:
    described = text("signing.md")
    found = list(keys(settings))
    assert len(found) > 10
    assert [key for key in found if f"`{key}`" not in described] == []


def test_no_setting_is_documented_that_is_none() -> None:
    rows = re.findall(r"^\| (`[^|]+`) \|", text("signing.md").partition("## Setting up")[0], re.MULTILINE)
    documented = {key for row in rows for key in re.findall(r"`([^`]+)`", row)}
    assert documented == {*keys(SamSettings), *keys(WebSettings)}


def test_the_portals_settings_are_all_documented_and_no_others() -> None:
    rows = re.findall(r"^\| (`[^|]+`) \|", text("portal.md").partition("## Settings")[2], re.MULTILINE)
    documented = {key for row in rows for key in re.findall(r"`([^`]+)`", row)}
    assert documented == {*keys(PortalSettings)}


def leaves(parser: argparse.ArgumentParser, path: str) -> Iterator[tuple[str, set[str]]]:
    """Commands without sub-commands, each with its long options."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for group in groups:
        for name, command in group.choices.items():
            yield from leaves(command, f"{path} {name}")
    if not groups:
        options = {option for action in parser._actions for option in action.option_strings if option[:2] == "--"}
        yield path, options - {"--help"}


def test_every_command_has_its_place_in_the_documents() -> None:
    assert {*(name.split()[0] for name in PARSERS), "dev"} == set(cli.SUMMARIES)


@pytest.mark.parametrize("name", sorted(PARSERS))
def test_every_command_and_option_is_documented(name: str) -> None:
    make, places = PARSERS[name]
    described = text(*places)
    missing = []
    for command, options in leaves(make(), f"privyseal {name}"):
        if not re.search(rf"{command}\b", described):
            missing.append(command)
        missing += [f"{command} {option}" for option in sorted(options) if not re.search(rf"{option}\b", described)]
    assert missing == []


def test_every_option_of_the_supervisor_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        dev.options(["--help"])
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}
    described = text("signing.md").partition("## `privyseal dev`")[2]
    assert options == set(re.findall(r"^\| `(--[a-z-]+)", described, re.MULTILINE))


def test_every_answer_of_the_api_is_documented_in_its_exact_words() -> None:
    constants = {
        value for name, value in vars(errors).items() if name.isupper() and isinstance(value, str) and " " in value
    }
    fixed = {error().description for error in (errors.MissingToken, errors.InvalidToken, errors.ExpiredToken)}
    said = {*constants, *fixed, errors.ServerError().description, *core._UNAVAILABLE.values()}
    said |= {make("NAME").description for make in (errors.missing_string, errors.invalid)}
    said |= {errors.missing_array("hash").description}
    said |= {value for value in core._REFUSALS.values() if not value.startswith("Invalid parameter")}
    assert len(said) > 15
    described = text("csc.md")
    assert sorted(words for words in said if f"`{words}`" not in described) == []


def test_every_method_of_the_api_is_documented_as_offered_or_not() -> None:
    offered, _, not_offered = text("csc.md").partition("## Not offered")
    assert [method.name for method in methods.METHODS if f"| `{method.name}` |" not in offered] == []
    assert [method for method in methods.NOT_HERE if f"`{method}`" not in not_offered] == []


def test_all_dialects_are_documented() -> None:
    described = text("csc.md")
    for dialect in (V1, V2, V2_2):
        assert f"| {dialect.specs} | `<public_url>{dialect.path}` | `{dialect.specs}` |" in described
        assert f"`{dialect.hashes}`" in described
        assert f"`{dialect.hash_algorithm}`" in described


@pytest.mark.parametrize("side", ["idp", "signing"])
def test_the_layers_are_documented_as_the_import_rules_have_them(side: str) -> None:
    rules = configparser.ConfigParser()
    rules.read(ROOT / "setup.cfg", encoding="utf-8")
    layers = rules[f"importlinter:contract:{side}-inside"]["layers"].split("\n")
    assert f"- {side}: `{' > '.join(filter(None, map(str.strip, layers)))}`" in text("architecture.md")


def test_every_sealed_table_is_documented() -> None:
    section = text("identity-provider.md").partition("## Whoever writes to the database")[2].partition("\n## ")[0]
    documented = set(re.findall(r"^\| `([a-z_]+)`", section, re.MULTILINE))
    assert documented == {name for name, table in metadata.tables.items() if "sealed" in table.info}


def test_every_decision_is_in_the_index_and_no_number_is_missing() -> None:
    listed = re.findall(r"^(\d+)\. \[[^\]]+\]\((\S+)\)$", text("adr/README.md"), re.MULTILINE)
    written = sorted(path.name for path in (ROOT / "docs" / "adr").glob("[0-9]*.md"))
    assert [name for _, name in listed] == written
    assert [int(number) for number, _ in listed] == [int(name[:4]) for name in written] == [*range(1, len(written) + 1)]
    for name in written:
        assert text(f"adr/{name}").startswith(f"# {int(name[:4])}. "), name
