"""What is not documented fails: events, settings, commands."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from idp.cli.administration import main
from idp.settings import IdpSettings
from idp.storage.audit import CATALOGUE

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("event", CATALOGUE.events, ids=lambda event: event.name)
def test_every_event_is_documented_with_its_fields(event: typing.Any) -> None:
    lines = (DOCS / "audit-events-idp.md").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"| `{event.name}` |")]
    _, _, meaning, required, optional, _ = (part.strip() for part in line.split("|"))
    assert meaning == event.meaning
    assert required == ", ".join(f"`{field}`" for field in sorted(event.required))
    assert optional == (", ".join(f"`{field}`" for field in sorted(event.optional)) or "none")


def test_values_of_fields_are_documented_below_the_events() -> None:
    _events, heading, values = (DOCS / "audit-events-idp.md").read_text().partition("\n## Values\n")
    assert heading, "a script that writes the table anew must keep what follows it"
    for field in ("factor", "cause` of `otp.not_sent", "change` of `notice.*", "scope"):
        assert f"| `{field}` |" in values


def keys(cls: type[typing.Any], prefix: str = "") -> Iterator[str]:
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        kinds = [kind for kind in (hints[field.name], *typing.get_args(hints[field.name])) if kind is not type(None)]
        named = typing.get_origin(hints[field.name]) is Mapping
        nested = [kind for kind in kinds if dataclasses.is_dataclass(kind)]
        if nested:
            inner = f"{prefix}{field.name}.<name>." if named else f"{prefix}{field.name}."
            yield from keys(typing.cast("type[typing.Any]", nested[0]), inner)
        else:
            yield f"{prefix}{field.name}"


def test_every_setting_is_documented() -> None:
    text = "".join((DOCS / name).read_text() for name in ("identity-provider.md", "certificates.md"))
    assert [key for key in keys(IdpSettings) if f"`{key}`" not in text] == []


@pytest.mark.parametrize(
    "command",
    [
        "init",
        "account create",
        "account disable",
        "account enable",
        "account set-password",
        "account set-address",
        "client create",
        "client list",
        "client disable",
        "client enable",
        "client renew-secret",
        "role grant",
        "role revoke",
        "role list",
        "keys rotate",
        "keys export-activation",
        "decisions export",
        "messages status",
        "messages resume",
        "policy history",
        "policy show",
        "policy shadow",
    ],
)
def test_every_command_is_documented_and_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"`privyseal idp {command}`" in (DOCS / "identity-provider.md").read_text()
    assert main([*command.split(), "--help"]) == 0
    assert "--config" in capsys.readouterr().out
