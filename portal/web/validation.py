"""A page on which anybody has a PDF's signatures validated.  What is sent is passed on and not kept."""

from __future__ import annotations

from flask import Blueprint, abort, render_template, request

from portal.errors import NothingChosen, TooLarge
from portal.names import check_pdf, clean_name
from portal.web.parts import parts

blueprint = Blueprint("validation", __name__)


@blueprint.get("/validate")
def ask() -> str:
    """Which file?"""
    _there()
    return render_template("validate.html", report=None, limits=parts().settings.limits)


@blueprint.post("/validate")
def validate() -> str:
    """The report."""
    _there()
    sent = request.files.get("file")
    if sent is None or not sent.filename:
        raise NothingChosen("no file was sent")
    limits = parts().settings.limits
    content = sent.stream.read(limits.file_octets + 1)
    if len(content) > limits.file_octets:
        raise TooLarge("the file is larger than one may be")
    check_pdf(content)
    report = parts().outside.validated(content)
    return render_template("validate.html", report=report, name=clean_name(sent.filename), limits=limits)


def _there() -> None:
    if parts().settings.validate_url is None:
        abort(404)
