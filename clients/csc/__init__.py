"""A client for remote signing services that speak the Cloud Signature Consortium's API, versions 1, 2.0 and 2.2.

Typed and synchronous.  README.md shows it at work; `signer.Signer` is where to begin, `service.Service` has each method
of the API for itself, and `errors.py` says what can go wrong.
"""

from .algorithms import Scheme, scheme_for, verify
from .credential import AuthObject, Credential
from .discovery import AuthorizationServer, ServiceInfo, authorization_server, discover
from .documents import Document, document_details, levels
from .errors import (
    AnswerTooLargeError,
    AuthorizationRefusedError,
    BusyError,
    ClientError,
    NotOfferedError,
    NotUsableError,
    ProtocolError,
    ResponseForgedError,
    ServiceRefusedError,
    SignatureWrongError,
    StepUpRequiredError,
    TimedOutError,
    TokenRefusedError,
    UnreachableError,
    UsageError,
)
from .keys import ClientAuthentication, ClientSecret, DpopKey, PrivateKeyJwt, PublicClient, read_key, read_private
from .oauth import OAuth, Pending, Tokens
from .receiver import LoopbackReceiver
from .service import Bearer, Handle, Sad, Service
from .signer import Elsewhere, Item, Progress, Signer
from .transport import Timeouts, Transport
from .version import __version__

__all__ = [
    "AnswerTooLargeError",
    "AuthObject",
    "AuthorizationRefusedError",
    "AuthorizationServer",
    "Bearer",
    "BusyError",
    "ClientAuthentication",
    "ClientError",
    "ClientSecret",
    "Credential",
    "Document",
    "DpopKey",
    "Elsewhere",
    "Handle",
    "Item",
    "LoopbackReceiver",
    "NotOfferedError",
    "NotUsableError",
    "OAuth",
    "Pending",
    "PrivateKeyJwt",
    "Progress",
    "ProtocolError",
    "PublicClient",
    "ResponseForgedError",
    "Sad",
    "Scheme",
    "Service",
    "ServiceInfo",
    "ServiceRefusedError",
    "SignatureWrongError",
    "Signer",
    "StepUpRequiredError",
    "TimedOutError",
    "Timeouts",
    "TokenRefusedError",
    "Tokens",
    "Transport",
    "UnreachableError",
    "UsageError",
    "__version__",
    "authorization_server",
    "discover",
    "document_details",
    "levels",
    "read_key",
    "read_private",
    "scheme_for",
    "verify",
]
