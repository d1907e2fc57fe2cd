"""Why a person is asked for more, in words of their own language; the policy's own stay beside them."""

from __future__ import annotations

from idp.authn.need import Need, need_of
from idp.web.interaction import BeginInteraction
from idp.web.language import text_on_page as _
from idp.web.longer import Longer
from idp.web.progress import Assessment


def in_words(asked: BeginInteraction, found: Assessment, longer: Longer | None = None) -> tuple[str, ...]:
    """Sentences for the page that asks for a factor; none where nothing is asked for.

    :param longer: that the password is too short to be enough.
    """
    need = need_of(found.decision, found.facts.evidence)
    if need is None:
        return ()
    what = _what(asked, found)
    texts = {
        Need.AGAIN: _("%(what)s needs your password once more: what was typed before no longer counts.", what=what),
        Need.ANOTHER_KIND: _("%(what)s needs a second factor of another kind.", what=what),
        Need.NOW: _("%(what)s needs a second factor that you use now, for this alone.", what=what),
        Need.KEY: _("%(what)s needs a key that cannot be used on a false page, such as a passkey.", what=what),
        Need.MORE: _("%(what)s needs a stronger proof that it is you.", what=what),
    }
    said = [texts[need]]
    wished = "request" in {reason.contributor for reason in found.decision.reasons}
    if wished and asked.opens_pages:
        said.append(_("%(party)s asks for it.", party=asked.display_name))
    if longer is not None:
        said.append(
            _("By itself your password would have to be longer: %(number)d characters or more.", number=longer.number)
        )
        if longer.changeable:
            said.append(_("You can choose another one on your account page."))
    return tuple(said)


def _what(asked: BeginInteraction, found: Assessment) -> str:
    """What is to be done, as the subject of a sentence: with its article, in languages that want one."""
    if asked.action == "signature.activate":
        qualified = found.credential is not None and found.credential.qualifier == "eu_eidas_qes"
        return _("Signing with a qualified certificate") if qualified else _("Signing documents")
    if asked.action == "credential.create":
        return _("The order of a signing credential")
    if asked.action.startswith("credential."):
        return _("Changing a signing credential")
    if asked.action.startswith("account."):
        return _("Changing how you prove who you are")
    if asked.action.startswith("admin."):
        return _("Administering this service")
    return _("Your sign-in to %(party)s", party=asked.display_name)
