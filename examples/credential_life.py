"""A credential's life from outside: an application has one made and ended, and a person approves both. HTTP only.

`python -m examples.credential_life --help` lists the options and the exit codes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

from examples import csc_client, oauth_client
from examples.errors import ExampleError
from examples.options import Setting, parser, setting
from examples.walkthrough import EXIT_CODES, Report, arrive


def base_of_2_2(csc: str) -> str:
    """Where the service has version 2.2 of the API, which knows these methods."""
    parts = urlsplit(csc)
    return f"{parts.scheme}://{parts.netloc}/2.2/csc/v2"


def create(given: Setting, metadata: oauth_client.ServerMetadata, report: Report) -> str:
    """Have the person approve a credential, and the service make it; its id."""
    token = _approved(given, metadata, report, "credential-creation")
    credential_id = csc_client.create_credential(given.http, base_of_2_2(given.csc), token)
    report.step("credentials/create", f"key made, certificate issued and linked: {credential_id}")
    return credential_id


def delete(given: Setting, metadata: oauth_client.ServerMetadata, report: Report, credential_id: str) -> None:
    """Have the person approve the credential's end, and the service carry it out."""
    token = _approved(given, metadata, report, "credential-deletion", credential_id)
    csc_client.delete_credential(given.http, base_of_2_2(given.csc), token, credential_id)
    report.step("credentials/delete", f"key destroyed, certificate revoked: {credential_id}")


def _approved(
    given: Setting,
    metadata: oauth_client.ServerMetadata,
    report: Report,
    scope: str,
    credential_id: str | None = None,
) -> str:
    pending, url = oauth_client.begin_order(metadata, given.client, scope, credential_id)
    parameters = arrive(given.person, url)
    report.step(
        f"Stepped up and approved: {scope}", f"pages: {', '.join(given.person.pages)}", reasons=given.person.reasons
    )
    tokens = oauth_client.finish(given.http, metadata, given.client, pending, parameters)
    report.step("Token received", f"for this one order, valid for {tokens.expires_in} s")
    return tokens.access_token


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    made = parser(
        "python -m examples.credential_life",
        "Has a signing credential made over the API and, with --delete, ended, as a relying party and as a person.",
        EXIT_CODES,
    )
    made.add_argument("--delete", action="store_true", help="end the credential that was made")
    options = made.parse_args(arguments)
    report = Report(options.json)
    try:
        given = setting(options)
        metadata = oauth_client.discover(given.http, given.issuer)
        credential_id = create(given, metadata, report)
        if options.delete:
            delete(given, metadata, report, credential_id)
        report.finish({"ok": True, "credentialID": credential_id, "deleted": options.delete})
    except ExampleError as e:
        report.finish({"ok": False, "error": e.code, "message": str(e)})
        print(f"{e.code}: {e}", file=sys.stderr)
        return e.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
