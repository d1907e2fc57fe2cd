"""What can go wrong in the portal; ``code`` chooses the sentence that the person reads (``portal.web.faults``)."""

from __future__ import annotations

from foundation.errors import PrivySealError


class PortalError(PrivySealError):
    """Base of the portal's errors; never raised itself."""

    status = 400
    """Of the page that tells of it."""


class NotInitialised(PortalError):
    """The database has no tables of ours, or another version's."""

    code = "not_initialised"
    status = 500


class KeyFileUnusable(PortalError):
    """The sealing key's file has fewer octets than a key needs."""

    code = "key_file"
    status = 500


class SealBroken(PortalError):
    """A sealed value does not open: another key, another row, or it was changed."""

    code = "seal_broken"
    status = 500


class FormNotCurrent(PortalError):
    """A POST without the form token of this browser (CSRF)."""

    code = "form_not_current"


class SignedOut(PortalError):
    """The page is for somebody who is signed in."""

    code = "signed_out"
    status = 401


class NoSuchDocument(PortalError):
    """There is none of that name that belongs to this person and has not expired."""

    code = "no_such_document"
    status = 404


class NothingChosen(PortalError):
    """A request about documents that names none, or no file to upload."""

    code = "nothing_chosen"


class AlreadySigned(PortalError):
    """A document that is signed: to sign it once more would put another in the place of what was signed."""

    code = "already_signed"
    status = 409


class NotPdf(PortalError):
    """The octets do not begin and end like a PDF's (ISO 32000-2 7.5.2, 7.5.5)."""

    code = "not_pdf"


class DocumentNotAcceptable(PortalError):
    """A PDF that is not one to be signed; ``reason`` is of ``documents.errors.REASONS``."""

    code = "document_not_acceptable"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TooLarge(PortalError):
    """A file, or all that were sent together, is larger than the settings allow."""

    code = "too_large"
    status = 413


class QuotaReached(PortalError):
    """This person keeps as many documents, or octets, as one person may."""

    code = "quota_reached"
    status = 413


class TooManyAtOnce(PortalError):
    """The documents together are more than the signing service takes in one request."""

    code = "too_many_at_once"


class PlaceInvalid(PortalError):
    """Numbers of the signature's place that do not make a box on a page."""

    code = "place_invalid"


class NoCredential(PortalError):
    """The person has no signing credential that can sign now."""

    code = "no_credential"
    status = 409


class AnswerNotOurs(PortalError):
    """An authorization response to no request of this browser, a second one, or another server's (RFC 6749 10.12)."""

    code = "answer_not_ours"


class IdTokenInvalid(PortalError):
    """The ID token does not verify (OpenID Connect Core 3.1.3.7)."""

    code = "id_token_invalid"
    status = 502


class NotApproved(PortalError):
    """The identity provider's answer is a refusal: the person's, or its policy's."""

    code = "not_approved"
    status = 403


class SignInAgain(PortalError):
    """The signing service takes the service token no longer, or wants its person authenticated otherwise (RFC 9470)."""

    code = "sign_in_again"
    status = 401

    def __init__(self, acr_values: tuple[str, ...] = (), max_age: int | None = None) -> None:
        super().__init__("the person has to sign in again")
        self.acr_values = acr_values
        self.max_age = max_age


class SigningRefused(PortalError):
    """The signing service did not sign; ``reason`` is its own words, in English."""

    code = "signing_refused"
    status = 502

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotValidated(PortalError):
    """The validation takes no such document: too large, or more time and memory than one may."""

    code = "not_validated"
    status = 422


class TooOften(PortalError):
    """The validation is asked too often by everybody together."""

    code = "too_often"
    status = 429


class TooManyRequests(PortalError):
    """Too many requests that cost something came from one address."""

    code = "too_many_requests"
    status = 429

    def __init__(self, seconds: int) -> None:
        """:param seconds: after which there may be another one."""
        super().__init__("too many requests from one address")
        self.seconds = seconds


class ServiceUnavailable(PortalError):
    """The identity provider or the signing service does not answer, or not in its protocol's form."""

    code = "service_unavailable"
    status = 503
