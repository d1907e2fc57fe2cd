"""Operators approve a policy: what they sign, and when it counts.

An approval names the policy and the hashes of both files, so neither can be another one afterwards.  It is an operation
(:mod:`contract.operation`) named ``policy.approve`` for the issuer whose policy it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath
from typing import Any, Final, TypeVar

from contract.errors import OperationExpired, OperationInvalid, OperationUnderSigned
from contract.operation import Operation, check_time, verify
from foundation import claims as read
from foundation.errors import JoseError
from foundation.jose import VerificationKey
from idp.policy.errors import Fault, PolicyRejected, RejectionCause
from idp.policy.prepare import NO_CASES

OPERATION: Final = "policy.approve"
MAX_DAYS: Final = 30
"""An approval that nobody used for so long is not what anybody has in mind any more."""

_Path = TypeVar("_Path", bound=PurePath)
_DAY: Final = 24 * 60 * 60
_MEMBERS: Final = frozenset({"name", "sha256", "cases_sha256"})


@dataclass(frozen=True, slots=True)
class PolicyApproval:
    """An approval that was verified."""

    name: str
    sha256: str
    cases_sha256: str
    """:data:`~idp.policy.prepare.NO_CASES` if it was approved without cases."""
    operators: tuple[str, ...]
    """RFC 7638 thumbprints of their keys."""
    jti: str
    iat: int
    exp: int
    """The first second in which it puts nothing in force any more."""


def operation(*, issuer: str, name: str, sha256: str, cases_sha256: str, jti: str, now: int, seconds: int) -> Operation:
    """What operators sign.

    :param now: NumericDate.
    """
    parameters = {"name": name, "sha256": sha256, "cases_sha256": cases_sha256}
    return Operation(issuer, OPERATION, parameters, jti, now, now + seconds)


def same_approval(one: Operation, other: Operation) -> bool:
    """Whether both approve the same files for the same issuer, whenever that was."""
    return (one.aud, one.operation, one.parameters) == (other.aud, other.operation, other.parameters)


def approval_beside(policy_file: _Path) -> _Path:
    """Where the approval of a policy file is: ``<name>.approval.json`` beside ``<name>.yaml``."""
    return policy_file.with_name(f"{policy_file.stem}.approval.json")


def check_approval(
    bundle: bytes | None,
    operators: Sequence[VerificationKey],
    needed: int,
    *,
    issuer: str,
    file: str,
    sha256: str,
    cases_sha256: str,
    now: datetime,
) -> PolicyApproval:
    """Verify that enough operators approved exactly these files; the policy's name is the caller's to compare.

    :param file: the approval's, for faults.
    :param operators: keys as :func:`contract.operation.operator_key` gives them.
    :raises PolicyRejected: with the cause ``approval_...``.
    """
    # 1. There is one.
    if bundle is None:
        raise _rejected("approval_missing", file, "is missing: operators have to approve this policy")
    try:
        # 2. Signatures, form, number of operators.
        found = verify(bundle.decode("utf-8", "replace"), operators, needed)
        # 3. For this issuer, and an approval.
        if found.aud != issuer or found.operation != OPERATION:
            raise _rejected("approval_invalid", file, "is for another service or another operation")
        approval = _read(found)
        # 4. Of these very files.
        if (approval.sha256, approval.cases_sha256) != (sha256, cases_sha256):
            raise _rejected("approval_for_other_content", file, "approves another policy or other cases")
        # 5. In its time.
        check_time(found, now, MAX_DAYS * _DAY)
    except OperationUnderSigned as error:
        raise _rejected("approval_under_signed", file, str(error)) from error
    except OperationExpired as error:
        raise _rejected("approval_expired", file, str(error)) from error
    except (OperationInvalid, JoseError) as error:
        raise _rejected("approval_invalid", file, str(error)) from error
    return approval


def _read(found: Operation) -> PolicyApproval:
    """:raises JoseError: a parameter is missing, unknown or not of its form."""
    parameters: Any = found.parameters
    read.check_members(parameters, _MEMBERS)
    cases = parameters["cases_sha256"]
    return PolicyApproval(
        name=read.text(parameters, "name", max_length=128),
        sha256=read.text(parameters, "sha256", max_length=64),
        cases_sha256=NO_CASES if cases == NO_CASES else read.text(parameters, "cases_sha256", max_length=64),
        operators=found.signers,
        jti=found.jti,
        iat=found.iat,
        exp=found.exp,
    )


def _rejected(cause: RejectionCause, file: str, message: str) -> PolicyRejected:
    return PolicyRejected(cause, (Fault(file, 1, 1, message),))
