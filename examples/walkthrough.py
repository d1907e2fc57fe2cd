"""The main job from outside: a relying party asks, a person approves, a PDF is signed. HTTP only.

`python -m examples.walkthrough --help` lists the options and the exit codes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from examples import csc_client, oauth_client, ways
from examples.errors import ExampleError, ProtocolError, StepUpRequiredError, UsageError, VerdictError
from examples.options import Setting, add_ways, describe, parser, person, setting, signed_name
from examples.person import Person, PolicyReason, Returned, save_owner_only
from examples.ways import Order

EXIT_CODES = """exit codes:
  0  the PDF is signed and the verdict is valid (or the order was written)
  2  an option or a file cannot be used
  3  the identity provider did not accept the password or the one-time code
  4  authorisation was refused: by the policy, by the person, or as an OAuth error
  5  an answer breaks the protocol, does not belong to the request, or the signing service refused
  6  the one-time code did not reach the inbox within 10 seconds
  7  a service does not answer
  8  the signature value is wrong, or the signed PDF does not verify"""


_MOMENTS = {"sign-in": "before", "choose": "before", "otp": "before", "consent": "after"}
"""Whether a reason was given before or after the person proved more."""


class Report:
    """Numbered steps, printed as they happen, or kept for one JSON object at the end."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self.steps: list[dict[str, Any]] = []

    def step(self, title: str, *details: str, reasons: Sequence[PolicyReason] = ()) -> None:
        """One step; never give it a secret."""
        self.steps.append(
            {
                "step": len(self.steps) + 1,
                "title": title,
                "details": list(details),
                "policy": [dataclasses.asdict(reason) for reason in reasons],
            }
        )
        if self._as_json:
            return
        print(f"{len(self.steps):2}. {title}")
        for detail in details:
            print(f"      {detail}")
        for reason in reasons:
            print(f"      policy, {_MOMENTS.get(reason.page, reason.page)}: {reason}")
        sys.stdout.flush()

    def finish(self, result: dict[str, Any]) -> None:
        if self._as_json:
            print(json.dumps({**result, "steps": self.steps}, default=str))


def sign(given: Setting, report: Report) -> Path:
    """Sign the PDF and return the path of the result.

    :raises VerdictError: signed, and pyHanko does not accept it.
    """
    metadata = oauth_client.discover(given.http, given.issuer)
    info = csc_client.service_info(given.http, given.csc)
    report.step(
        "Discovery",
        f"identity provider {metadata.issuer}",
        f'signing service "{info.get("name", "")}", CSC {info.get("specs", "")} at {given.csc}',
        f"levels of signatures: {', '.join(ways.offered(info)) or '(none told)'}",
    )
    token = _sign_in(given, metadata, report)
    try:
        credential = _choose_credential(given, token, report)
    except StepUpRequiredError as challenge:
        credential = _choose_credential(given, _sign_in(given, metadata, report, challenge), report)
    order = ways.prepare(given.way, given.pdf, credential, given.level)
    report.step(
        f"PDF prepared: {given.pdf_name}",
        f"digest of {order.subject} with {order.scheme.hash_name}: {order.digest.hex()}",
    )
    sad = _authorise(given, metadata, credential, order, report)
    signed = order.redeem(given.http, given.csc, sad, credential.credential_id)
    report.step(order.done_by, f"a signed PDF of {len(signed)} bytes around the digest that was approved")
    return _finish(given, order, signed, report)


def order_credential(who: Person, issuer: str, path: Path, report: Report) -> None:
    """As the person: order a signing credential on the account pages and keep the order."""
    order = who.order_credential(issuer)
    try:
        save_owner_only(path, order)
    except OSError as e:
        message = f"{path} cannot be written"
        raise UsageError(message) from e
    report.step("Signing credential ordered", f"pages: {', '.join(who.pages)}", f"order: {path}", reasons=who.reasons)


def arrive(who: Person, url: str, digests: Sequence[str] = ()) -> dict[str, str]:
    """Let the person walk from a URL until the browser is back; the parameters that it brings.

    :param digests: in hexadecimal, what the person expects to see before approving.
    """
    arrival = who.walk(url, digests=digests)
    if not isinstance(arrival, Returned):
        message = "The provider sent a file where it should have sent the browser back."
        raise ProtocolError(message)
    return oauth_client.response_parameters(arrival.url)


def _sign_in(
    given: Setting,
    metadata: oauth_client.ServerMetadata,
    report: Report,
    challenge: StepUpRequiredError | None = None,
) -> str:
    if challenge is not None:
        ages = () if challenge.max_age is None else (f"max_age {challenge.max_age} s",)
        report.step("The signing service asks for more", challenge.description, *challenge.acr_values, *ages)
    pending, url = oauth_client.begin_sign_in(metadata, given.client, step_up=challenge)
    parameters = arrive(given.person, url)
    tokens = oauth_client.finish(given.http, metadata, given.client, pending, parameters)
    report.step(
        "Signed in",
        f"scope {pending.scope}; pages: {', '.join(given.person.pages)}",
        f"acr {tokens.claims.get('acr', '(none)')}, amr {' '.join(tokens.claims.get('amr') or []) or '(none)'}",
        reasons=given.person.reasons,
    )
    return tokens.access_token


def _choose_credential(given: Setting, token: str, report: Report) -> csc_client.Credential:
    ids = csc_client.list_credentials(given.http, given.csc, token)
    described = [csc_client.credential_info(given.http, given.csc, token, each) for each in ids]
    usable = [each for each in described if each.usable]
    if not usable:
        message = "The person has no credential that can sign."
        raise ProtocolError(message)
    credential = usable[0]
    report.step(
        "credentials/list and credentials/info",
        f"{len(ids)} found; using {credential.credential_id}",
        f"{credential.signer_name}, certified by {credential.issuer_name} until {credential.valid_to}",
        f"sole control assurance level SCAL{credential.scal}",
    )
    return credential


def _authorise(
    given: Setting,
    metadata: oauth_client.ServerMetadata,
    credential: csc_client.Credential,
    order: Order,
    report: Report,
) -> str:
    """Push the request, have the person step up and approve, and collect the SAD."""
    details = order.details(credential.credential_id, given.pdf_name, given.csc)
    pending, url = oauth_client.begin_signing(metadata, given.client, details)
    report.step("Request pushed", "authorization_details: credential, one digest, its label, where it shall be used")
    parameters = arrive(given.person, url, [order.digest.hex()])
    pages = given.person.pages
    report.step(
        "Stepped up and approved",
        f"pages: {', '.join(pages)}" + (f"; one-time code by {given.channel}" if "otp" in pages else ""),
        f"the approval page showed the digest {order.digest.hex()}",
        reasons=given.person.reasons,
    )
    tokens = oauth_client.finish(given.http, metadata, given.client, pending, parameters)
    report.step("Signature activation data received", f"valid for {tokens.expires_in} s, for this digest only")
    return tokens.access_token


def _finish(given: Setting, order: Order, signed: bytes, report: Report) -> Path:
    path = given.out / signed_name(given.pdf_name)
    try:
        path.write_bytes(signed)
    except OSError as e:
        message = f"{path} cannot be written"
        raise UsageError(message) from e
    report.step("PDF kept", str(path.resolve()))
    verdict = ways.judge(order, signed, given.roots, revocation=given.hard_fail)
    report.step("Verdict of pyHanko against the given root", *describe(verdict))
    report.finish({"ok": verdict.bottom_line, "pdf": str(path.resolve()), "verdict": dataclasses.asdict(verdict)})
    if not verdict.bottom_line:
        raise VerdictError(verdict.problem)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    options = _options(arguments)
    # pyHanko logs a traceback for every signature it does not trust; the verdict says the same in one line.
    logging.getLogger("pyhanko").setLevel(logging.CRITICAL)
    report = Report(options.json)
    try:
        if options.create_credential_order is not None:
            order_credential(person(options), options.issuer, options.create_credential_order, report)
            report.finish({"ok": True, "order": str(options.create_credential_order)})
        else:
            sign(setting(options), report)
    except VerdictError as e:
        print(f"{e.code}: {e}", file=sys.stderr)
        return e.exit_status
    except ExampleError as e:
        report.finish({"ok": False, "error": e.code, "message": str(e)})
        print(f"{e.code}: {e}", file=sys.stderr)
        return e.exit_status
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    made = parser(
        "python -m examples.walkthrough",
        "Signs a PDF from outside, over HTTP only, as a relying party and as a person.",
        EXIT_CODES,
    )
    add_ways(made)
    made.add_argument(
        "--create-credential-order",
        type=Path,
        metavar="FILE",
        help="only order a signing credential as the person, and write the order to FILE (owner only)",
    )
    return made.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
