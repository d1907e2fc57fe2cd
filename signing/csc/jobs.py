"""Asynchronous operation (CSC API 2.0.0.2 11.10 to 11.12): taken in, and fetched.  Workers: :mod:`signing.csc.work`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from contract.sad import Sad
from foundation.log import get
from signing.csc import errors, parameters
from signing.csc.bearer import Bearer
from signing.csc.call import Answer, Call
from signing.csc.core import Rssp
from signing.csc.dialect import Dialect
from signing.csc.requests import Later
from signing.csc.service_token import ServiceToken
from signing.jobs.errors import JobsUnavailable, TooManyJobs, UnknownJob
from signing.jobs.model import Wanted
from signing.settings import WebSettings

if TYPE_CHECKING:
    from signing.jobs.queue import Jobs

MIN_VALIDITY: Final = 1000
"""Milliseconds: less is too short to be asked again."""
MAX_REQUEST_ID: Final = 128
_RETRY_SECONDS: Final = 5

T = TypeVar("T")

_log = get(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be carried out later."""

    request: Mapping[str, Any] = field(repr=False)
    """JSON that :mod:`signing.csc.work` understands."""
    credential_id: str
    digests: tuple[bytes, ...]
    """Of the SAD's, for what is to be signed."""


def offered(settings: WebSettings) -> bool:
    """Whether a deployment has asynchronous operation."""
    return settings.jobs is not None


def check_offered(rssp: Rssp, dialect: Dialect) -> None:
    """:raises errors.InvalidRequest: there is no asynchronous operation here, or in this version."""
    if rssp.jobs is None or not dialect.asynchronous:
        raise errors.invalid("operationMode")


def accept(rssp: Rssp, sad: Sad, task: Task, later: Later) -> Answer:
    """Take a request in.

    :param sad: that of the request, verified, of the person and client that ask.
    :raises errors.CscError: it is refused as it is asked for.
    """
    jobs = _jobs(rssp)
    keep_for = _keep_for(jobs, later.validity_period)
    if later.response_uri is not None and not jobs.notices.may_have(sad.client_id, later.response_uri):
        raise errors.invalid("response_uri")
    if sad.credential_id != task.credential_id:
        raise errors.invalid("credentialID")
    if sad.dtbsr and Counter(task.digests) - Counter(sad.dtbsr):
        raise errors.InvalidRequest(errors.NOT_AUTHORIZED)
    rssp.limits.take((("credential", sad.credential_id),))
    wanted = Wanted(
        client_id=sad.client_id,
        account=sad.sub,
        request=json.dumps(task.request).encode(),
        ends_at=sad.exp * 1000,
        keep_for=keep_for,
        once=serves_once(sad, task.digests),
        response_uri=later.response_uri,
    )
    job = _stored(lambda: jobs.add(wanted))
    _log.info("an asynchronous request was taken in", extra={"fields": {"job": job, "client_id": sad.client_id}})
    return Answer({"responseID": job})


def sign_polling(rssp: Rssp, call: Call) -> Answer:
    """``signatures/signPolling`` (11.12).

    :raises errors.CscError: with the specification's words.
    """
    client_id, account = _asking(rssp, call.bearer, call.body)
    request_id = parameters.required_text(call.body, "requestID", MAX_REQUEST_ID)
    jobs = _jobs(rssp)
    try:
        outcome = _stored(lambda: jobs.fetch(request_id, client_id, account))
    except UnknownJob as error:
        raise errors.invalid("requestID") from error
    if outcome is None:
        return Answer({"error": "accepted_request", "error_description": errors.STILL_PROCESSED}, 202)
    content = json.loads(outcome.content)
    if not outcome.good:
        raise errors.Reported(content["status"], content["error"], content["error_description"])
    return Answer(content)


def serves_once(sad: Sad, digests: tuple[bytes, ...]) -> bool:
    """Whether what the SAD authorises is not enough for the same request to be carried out a second time."""
    if not sad.dtbsr:
        return sad.sign_count < 2 * len(digests)
    authorised = Counter(sad.dtbsr)
    return any(authorised[digest] < 2 * count for digest, count in Counter(digests).items())


def _jobs(rssp: Rssp) -> Jobs:
    if rssp.jobs is None:
        raise errors.invalid("operationMode")
    return rssp.jobs


def _keep_for(jobs: Jobs, validity_period: int | None) -> int:
    if validity_period is None:
        return jobs.settings.default_validity_seconds * 1000
    if not MIN_VALIDITY <= validity_period <= jobs.settings.max_validity_seconds * 1000:
        raise errors.InvalidRequest(errors.VALIDITY_OUT_OF_BOUNDS)
    return validity_period


def _asking(rssp: Rssp, bearer: Bearer, body: Mapping[str, Any]) -> tuple[str, str]:
    """Client and person."""
    user_id = body.get("userID")
    if bearer.kind == "sad":
        sad = rssp.sad_bearer(bearer)
        client_id, account, names_user = sad.client_id, sad.sub, False
    else:
        token: ServiceToken = rssp.service_token(bearer)
        client_id, account, names_user = token.client_id, token.subject, not token.user_specific
    if not names_user:
        if user_id is not None:
            raise errors.InvalidRequest(errors.USER_ID_SHALL_BE_NULL)
        return client_id, account
    if not isinstance(user_id, str) or not 0 < len(user_id) <= 255:
        raise errors.invalid("userID")
    return client_id, user_id


def _stored(call: Callable[[], T]) -> T:
    try:
        return call()
    except TooManyJobs as error:
        raise errors.TooManyRequests(_RETRY_SECONDS) from error
    except JobsUnavailable as error:
        _log.error("the jobs' database does not answer")
        raise errors.TemporarilyUnavailable(errors.NO_JOBS_NOW) from error
