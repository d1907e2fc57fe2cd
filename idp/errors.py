"""Why the identity provider refuses.  ``code`` is for logs and audit; what a person reads is chosen by the page."""

from __future__ import annotations

from foundation.errors import PrivySealError


class IdpError(PrivySealError):
    """Base of the errors of this package; never raised itself."""


class NotInitialised(IdpError):
    """The database or the key directory has not been set up: ``privyseal idp init`` does it."""

    code = "not_initialised"


class SchemaMismatch(IdpError):
    """The database's tables are of another version than this program."""

    code = "schema_mismatch"


class AlreadyExists(IdpError):
    """An account or a client of that name is there already."""

    code = "already_exists"


class UnknownAccount(IdpError):
    """There is no such account."""

    code = "unknown_account"


class UnknownDevice(IdpError):
    """There is no code device of that serial number, or somebody carries it."""

    code = "unknown_device"


class UnknownClient(IdpError):
    """There is no such client, or it has no secret to renew."""

    code = "unknown_client"


class UnknownPolicy(IdpError):
    """No policy of that hash was ever used, or no candidate is asked."""

    code = "unknown_policy"


class PlainRedirect(IdpError):
    """In production, a client that may be served has a redirect URI without TLS."""

    code = "plain_redirect"


class InputRefused(IdpError):
    """A name, address or password that an administrator gave is of a form that is not accepted."""

    code = "input_refused"


class TooManyAuthenticators(InputRefused):
    """The account has as many authenticators of the kind as it may have."""

    code = "too_many_authenticators"


class PasswordRefused(InputRefused):
    """A new password is not accepted; ``cause`` tells why, for a page that says it in the person's language.

    The causes: ``too_short``, ``too_long``, ``control``, ``common``, ``about_you``, ``pattern``, ``unchanged``.
    """

    code = "password_refused"

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


class LoginRefused(IdpError):
    """User name or password is wrong, or the account may not sign in: which of these is never told."""

    code = "login_refused"


class LoginBusy(IdpError):
    """More passwords are being verified than the machine was given memory for; ask again in a moment."""

    code = "login_busy"


class LoginCrowded(LoginBusy):
    """So many from one address are waiting already that others would find no place."""

    code = "login_crowded"


class OtpRefused(IdpError):
    """Base of the refusals of one-time codes; never raised itself."""


class OtpWrong(OtpRefused):
    """Not the code that was sent."""

    code = "otp_wrong"


class OtpUsed(OtpRefused):
    """A right code that was accepted before (NIST SP 800-63B 5.1.4.2: the person may be warned)."""

    code = "otp_used"


class OtpBehind(OtpRefused):
    """A code from a while ago: the clock of the device that shows it is slow, by so many seconds."""

    code = "otp_behind"

    def __init__(self, seconds: int) -> None:
        super().__init__(f"the clock of the device is {seconds} seconds behind")
        self.seconds = seconds


class OtpPaused(OtpRefused):
    """None is tried for so many seconds after several wrong codes."""

    code = "otp_paused"

    def __init__(self, seconds: int) -> None:
        super().__init__(f"codes are tried again in {seconds} seconds")
        self.seconds = seconds


class OtpDead(OtpRefused):
    """The challenge is used, expired, replaced or has met too many wrong codes."""

    code = "otp_dead"


class OtpLocked(OtpRefused):
    """The authenticator met too many failures: for a day, or for good."""

    code = "otp_locked"


class OtpCoolDown(OtpRefused):
    """A code was sent a moment ago; ``seconds`` tells when the next may be."""

    code = "otp_cool_down"

    def __init__(self, seconds: int) -> None:
        super().__init__(f"the next message may be sent in {seconds} seconds")
        self.seconds = seconds


class OtpStopped(OtpRefused):
    """As many messages as may have gone out: ``otp.budget_an_hour``, ``otp.budget_a_day`` or ``otp.max_per_prefix``.

    ``scope`` is ``hour``, ``day`` or ``prefix_34``, or empty where messages were stopped before.
    """

    code = "otp_stopped"

    def __init__(self, scope: str, seconds: int) -> None:
        super().__init__(f"no messages go out for the next {seconds} seconds")
        self.scope = scope
        self.seconds = seconds


class OtpNotSent(OtpRefused):
    """The message gateway did not take the message."""

    code = "otp_not_sent"


class NoGateway(IdpError):
    """The operator enabled no gateway for the channel over which a message is to go."""

    code = "no_gateway"


class TooManyNotices(IdpError):
    """One number was sent as many notices of late as may be."""

    code = "too_many"


class NoticesHeldBack(IdpError):
    """Everybody was sent as many notices by text message of late as may be; this one waits."""

    code = "notice_budget"


class NoSuchFactor(OtpRefused):
    """The account has no usable authenticator of that kind, or the policy does not ask for it now."""

    code = "no_such_factor"


class InteractionLost(IdpError):
    """No open interaction of that id belongs to this browser's session."""

    code = "interaction_lost"


class InteractionExpired(InteractionLost):
    """The interaction's time was over before it was finished.

    :ivar party: who asked for it, as people know them.
    :ivar return_to: the redirect URI that was checked when it began; empty for our own pages.
    """

    code = "interaction_expired"

    def __init__(self, party: str, return_to: str) -> None:
        super().__init__("the time of the interaction is over")
        self.party = party
        self.return_to = return_to


class CsrfRefused(IdpError):
    """A form came without the token of the session it belongs to."""

    code = "csrf"


class ConsentMismatch(IdpError):
    """What was approved is not what this transaction is about."""

    code = "consent_mismatch"


class DocumentsNotShown(IdpError):
    """A document that has to be shown before it is approved was not, or is another than its digest says."""

    code = "documents_not_shown"


class CredentialUnavailable(IdpError):
    """The credential to be used could not be read from the signing service."""

    code = "credential_unavailable"


class CredentialUnusable(IdpError):
    """The signing service does not know the credential as this person's, or it is disabled."""

    code = "credential_unusable"


class CredentialNotChosen(CredentialUnusable):
    """The person has not said yet with which of their credentials."""

    code = "credential_not_chosen"


class SealBroken(IdpError):
    """A row of the database is not as this program wrote it."""

    code = "seal_broken"


class BoxBroken(IdpError):
    """A secret in the database is not as this program wrote it."""

    code = "box_broken"


class EnrolmentLost(IdpError):
    """No open enrolment of that id belongs to this browser's session."""

    code = "enrolment_lost"


class EnrolmentRefused(IdpError):
    """What was given to bind an authenticator does not prove that the person has it; it may be tried again.

    :param shown: what the person is told, where there is more to say than that it was not right.
    :param counted: it has been counted as a failure already.
    """

    code = "enrolment_refused"

    def __init__(self, text: str, shown: str = "", *, counted: bool = False) -> None:
        super().__init__(text)
        self.shown = shown
        self.counted = counted


class AddressRefused(IdpError):
    """A telephone number or mail address that cannot be bound; ``shown`` says why to the person."""

    code = "address_refused"

    def __init__(self, text: str, shown: str) -> None:
        super().__init__(text)
        self.shown = shown


class ActivationRefused(IdpError):
    """No activation is opened by this code; ``cause`` is for the audit chain, and never told (OTP-11)."""

    code = "activation_refused"

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


class ActivationLost(IdpError):
    """What an activation code opened is over, or is another browser's."""

    code = "activation_lost"


class LastWayIn(IdpError):
    """Without this authenticator nobody could sign in to the account any more."""

    code = "last_way_in"


class NotWhatWasApproved(IdpError):
    """What is to be given out is not what the person was shown and approved."""

    code = "not_what_was_approved"


class KeyUnavailable(IdpError):
    """A key file is missing or is not the key that its name says."""

    code = "key_unavailable"


class NotActivatable(IdpError):
    """The approval does not permit what signature activation data would say: it is for a policy to be corrected."""

    code = "not_activatable"


class ProposalRefused(IdpError):
    """A change of roles may not be proposed, or not be confirmed by this person; ``cause`` is for the audit chain."""

    code = "proposal_refused"

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


class ResetRefused(IdpError):
    """Somebody's factors may not be reset, or not by this person; ``cause`` is for the audit chain."""

    code = "reset_refused"

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


class UnknownReset(IdpError):
    """There is no open proposal of a reset of that identifier: it was decided on, or somebody altered it."""

    code = "unknown_reset"


class UnknownProposal(IdpError):
    """There is no open proposal of that identifier: it was decided on, or somebody altered it."""

    code = "unknown_proposal"


class PasskeyRefused(IdpError):
    """A passkey's answer is not what was asked for; ``cause`` is for the audit chain, a page tells less.

    The causes: ``no_answer``, ``malformed``, ``too_large``, ``expired``, ``type``, ``challenge``, ``origin``,
    ``rp_id``, ``presence``, ``user_verification``, ``backup_flags``, ``backup_changed``, ``algorithm``, ``key``,
    ``signature``, ``counter``, ``user_handle``, ``unknown``, ``account``, ``replayed``, ``attestation``,
    ``attestation_untrusted``.
    """

    code = "passkey_refused"

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


class TrustRefused(IdpError):
    """The file of authenticator models that an operator configured is not of the form."""

    code = "trust_refused"
