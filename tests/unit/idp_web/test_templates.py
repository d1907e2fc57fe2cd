"""Templates that are read once a process: what is in them is everybody's."""

from __future__ import annotations

import re

from jinja2 import meta
from jinja2.runtime import Macro

from idp.web import language
from tests.fakes.idp import Idp


def source(idp: Idp, name: str) -> str:
    loader = idp.app.jinja_env.loader
    assert loader is not None
    return loader.get_source(idp.app.jinja_env, name)[0]


def test_SES_07_what_is_made_once_a_process_is_macros_alone_and_asks_nothing_of_a_page(idp: Idp) -> None:
    # What stands outside macros would be the first reader's, for everybody; what is asked of a page would be empty.
    environment = idp.app.jinja_env
    pages = [source(idp, name) for name in environment.list_templates(extensions=["html"])]
    shared = {
        name
        for page in pages
        for name, names in re.findall(r'{% from "([^"]+)" import ([^%]*)%}', page)
        if not names.strip().endswith("with context")
    }
    assert "_parts.html" in shared
    for name in shared:
        asked = meta.find_undeclared_variables(environment.parse(source(idp, name)))
        assert asked <= environment.globals.keys(), name
        with idp.app.test_request_context("/"):
            made = environment.get_template(name).module
        exported = [value for each, value in vars(made).items() if not each.startswith("_")]
        assert exported
        assert all(isinstance(value, Macro) for value in exported), name


def test_pages_write_times_in_one_way(idp: Idp) -> None:
    """By the filters of idp.web.language, which mark them up; but for the line that a script counts down."""
    environment = idp.app.jinja_env
    for name in environment.list_templates(extensions=["html"]):
        others = re.findall(r"dateformat|timeformat|strftime|isoformat|<time\b", source(idp, name))
        assert others == (["isoformat", "strftime"] if name == "_parts.html" else []), name


def test_in_attributes_names_are_plain_text(idp: Idp) -> None:
    """There is no markup there: what sets a name apart on a page would be read out with it."""
    environment, found = idp.app.jinja_env, 0
    named = re.compile(rf"%\((?:{'|'.join(sorted(language._NAMES))})\)|\|name\b")
    for name in environment.list_templates(extensions=["html"]):
        for value in re.findall(r'[\w-]+="([^"]*)"', source(idp, name)):
            if named.search(value):
                found += 1
                assert value.endswith("|striptags }}"), (name, value)
    assert found
