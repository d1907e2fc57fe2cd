"""The methods of the API, each with its handler: what is here is served, listed by ``info``, and swept by the tests."""

from __future__ import annotations

from typing import Final

from signing.csc import approval, creation, login, responses
from signing.csc.authorize import credentials_authorize, explicitly, get_challenge, send_otp
from signing.csc.authorize import offered as authorize_offered
from signing.csc.call import Answer, Call, Method
from signing.csc.core import Rssp
from signing.csc.credentials import credentials_info, credentials_list
from signing.csc.dialect import Dialect
from signing.csc.documents import offered as documents_offered
from signing.csc.documents import sign_doc
from signing.csc.jobs import offered as jobs_offered
from signing.csc.jobs import sign_polling
from signing.csc.signatures import extend_transaction, sign_hash
from signing.csc.timestamps import offered as timestamps_offered
from signing.csc.timestamps import timestamp
from signing.settings import WebSettings


def info(rssp: Rssp, call: Call) -> Answer:
    """``info`` (11.1); needs no authorization."""
    names = [method.name for method in offered(call.dialect, rssp.settings)]
    return Answer(responses.service_info(call.dialect, rssp.settings, call.lang, names, rssp.algorithms()))


_V2_2: Final = frozenset({"v2_2"})

METHODS: Final = (
    Method("info", info, bearer=False),
    Method("credentials/list", credentials_list),
    Method("credentials/info", credentials_info),
    Method("credentials/extendTransaction", extend_transaction),
    Method("credentials/create", creation.credentials_create, dialects=_V2_2, offered=creation.offered),
    Method("credentials/delete", creation.credentials_delete, dialects=_V2_2, offered=creation.offered),
    Method("signatures/signHash", sign_hash),
    Method("signatures/timestamp", timestamp, offered=timestamps_offered),
    Method("credentials/authorize", credentials_authorize, offered=authorize_offered),
    Method("credentials/getChallenge", get_challenge, dialects=frozenset({"v2", "v2_2"}), offered=explicitly),
    Method("credentials/sendOTP", send_otp, dialects=frozenset({"v1", "v2"}), offered=explicitly),
    Method("auth/login", login.auth_login, offered=login.offered, bearer=False),
    Method("auth/revoke", login.auth_revoke, offered=login.offered),
    Method("credentials/authorizeCheck", approval.authorize_check, offered=approval.offered),
    Method(
        "signatures/signDoc",
        sign_doc,
        dialects=frozenset({"v2", "v2_2"}),
        offered=documents_offered,
        max_body=lambda web: web.documents.max_body,
    ),
    Method("signatures/signPolling", sign_polling, dialects=frozenset({"v2", "v2_2"}), offered=jobs_offered),
)

NOT_HERE: Final[tuple[str, ...]] = ()
"""Methods of the specification that this service does not have: 501 (10.1), so that a client can tell."""


def offered(dialect: Dialect, settings: WebSettings) -> tuple[Method, ...]:
    """The methods that a deployment has in a dialect."""
    return tuple(method for method in METHODS if dialect.name in method.dialects and method.offered(settings))


def missing(dialect: Dialect, settings: WebSettings) -> tuple[str, ...]:
    """The names of the specification's methods that it has not."""
    here = {method.name for method in offered(dialect, settings)}
    return tuple(name for name in (*(method.name for method in METHODS), *NOT_HERE) if name not in here)
