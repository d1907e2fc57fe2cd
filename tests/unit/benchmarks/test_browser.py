"""Reading the identity provider's pages as far as a login needs."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

from benchmarks.browser import authorization_path, forms_of

PAGE = """
<form data-form="otp" method="post" action="/interaction/1/code?a=1&amp;b=2">
  <input type="hidden" name="csrf_token" value="a&amp;b"><input name="code">
</form>
<form class="leave" data-form="leave" method="post" action="/interaction/1/leave"></form>
<form data-form="choose" class="choices" method="post" action="/interaction/1/factor"><button></button></form>
"""


def test_forms_are_found_by_their_marker_with_what_they_carry_unseen() -> None:
    forms = forms_of(PAGE)
    assert forms["otp"].action == "/interaction/1/code?a=1&b=2"
    assert forms["otp"].hidden == {"csrf_token": "a&b"}
    assert forms["choose"].hidden == {}


def test_a_page_without_forms_has_none() -> None:
    assert forms_of("<p>nothing</p>") == {}


def test_the_authorization_request_insists_on_its_level_and_is_another_one_each_time() -> None:
    paths = [authorization_path("client", "http://rp.localhost/callback", "urn:level") for _ in range(2)]
    first, second = (parse_qs(urlsplit(path).query) for path in paths)
    assert json.loads(first["claims"][0])["id_token"]["acr"] == {"essential": True, "values": ["urn:level"]}
    assert first["code_challenge_method"] == ["S256"]
    assert len(first["code_challenge"][0]) == 43
    assert all(first[name] != second[name] for name in ("state", "nonce", "code_challenge"))
