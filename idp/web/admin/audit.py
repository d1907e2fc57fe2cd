"""The audit chain for auditors: records by event and by what they name, decisions with their reasons, an export.

No record holds a secret: the catalogue of events refuses what is not listed.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Final

from flask import abort, make_response, request
from werkzeug.wrappers import Response

from idp.storage import policies, trail
from idp.storage.audit import CATALOGUE
from idp.storage.engine import reading
from idp.web.admin import source
from idp.web.admin.guard import blueprint, page, record_view
from idp.web.admin.source import Note
from idp.web.services import services

_PAGE: Final = 50
_MOST_TEXT: Final = 160


@blueprint.get("/audit")
def audit() -> Response:
    """Records, the latest first."""
    event, text = (
        request.args.get("event", "").replace("\0", "")[:64],
        request.args.get("text", "").strip()[:_MOST_TEXT],
    )
    with reading(services().engine) as connection:
        found = trail.page(connection, event=event, containing=text, before=_number("before"), limit=_PAGE + 1)
    return page(
        "admin_audit.html",
        records=found[:_PAGE],
        more=found[_PAGE - 1].sequence if len(found) > _PAGE else None,
        event=event,
        text=text,
        events=sorted(item.name for item in CATALOGUE.events),
    )


def _number(name: str) -> int | None:
    value = request.args.get(name, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 18 else None


@blueprint.get("/audit/decisions/<decision_id>")
def decision(decision_id: str) -> Response:
    """What the policy decided, with its reasons at the lines of the file that was in force."""
    with reading(services().engine) as connection:
        found = trail.decision(connection, decision_id)
        version = None if found is None else policies.by_sha256(connection, found.policy_sha256)
    if found is None:
        abort(404)
    record_view("admin.audit.view", subject=found.account_id, decision_id=found.id)
    decided = found.detail.get("decision", found.detail)
    notes: dict[int, list[Note]] = {}
    for reason in decided["reasons"]:
        notes.setdefault(reason["line"], []).append(Note("reason", reason["text"], reason["rule"]))
    lines = None if version is None else source.lines(source.decoded(version.content), notes)
    return page(
        "admin_decision.html", parent="admin.audit", found=found, decided=decided, runs=source.runs(lines or ())
    )


@blueprint.get("/audit/export")
def export() -> Response:
    """Records as lines of JSON, as ``privyseal audit export`` writes them."""
    after = _number("after")
    with reading(services().engine) as connection:
        entries = trail.export(connection, -1 if after is None else after)
    record_view("admin.audit.export")
    response = make_response("".join(f"{json.dumps(asdict(entry), separators=(',', ':'))}\n" for entry in entries))
    response.headers["Content-Type"] = "application/x-ndjson"
    name = f"audit-{entries[0].sequence}-{entries[-1].sequence}" if entries else "audit"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.jsonl"'
    return response
