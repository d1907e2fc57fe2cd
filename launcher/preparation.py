"""What is done once for a new state: secrets, settings, databases, token, demo person, demo relying party, credential.

Each step runs the product's own command as the user it belongs to. Secrets are made here, written to owner-only files
of those who share them, and named to commands by path.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher import configuration
from launcher.accounts import Role
from launcher.configuration import (
    CSC_CLIENT,
    CSC_KEY,
    PORTAL_CLIENT,
    PORTAL_KEY,
    RP_CLIENT,
    SIGN_CLIENT,
    Installation,
)
from launcher.errors import StepFailedError
from launcher.process import Command, python, run_to_end, tail
from launcher.toml import dumps

CIBA = "urn:openid:params:grant-type:ciba"
"""Grant type of clients that ask for an approval elsewhere and later."""

PERSON = "alice"
PERSON_EMAIL = "alice@example.org"
PERSON_PHONE = "+15550100"
OPERATORS = (1, 2)
"""Development operators: as many as what weakens something takes."""
ADMINISTRATOR = "ada"
SECOND_OPERATOR = "otto"
"""Confirms what the administrator proposes; nobody makes an administrator alone."""
ROLES: dict[str, tuple[str, ...]] = {
    ADMINISTRATOR: ("policy", "relying_parties", "operators", "helpdesk", "auditors"),
    SECOND_OPERATOR: ("operators", "helpdesk"),
}
"""Who administers the demo's identity provider."""
PUBLIC_MODE = 0o644
PASSWORD = "person-password"
"""The one secret that somebody types; 64 bits are enough behind a limit on wrong guesses."""
ADMIN_PASSWORD = "admin-password"
"""Of both administrators."""
SHARED: dict[str, tuple[Role, Role]] = {
    "ca-token": ("dev", "web"),
    "twilio-token": ("dev", "idp"),
    PASSWORD: ("dev", "idp"),
    ADMIN_PASSWORD: ("dev", "idp"),
}
"""Secrets that two of the users know, each in a file of its own for either."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what people are told, whose it is, the Python module with its arguments, and what follows it."""

    title: str
    role: Role
    module: tuple[str, ...]
    after: Callable[[], object] | None = None


def run(here: Installation, steps: Iterable[Step], say: Callable[[str], None], watch: Callable[[], None]) -> None:
    """Run steps in order.

    :raises StepFailedError: one of them failed; the text ends with its output.
    """
    for step in steps:
        say(step.title)
        log = here.state.log("setup")
        with log.open("ab") as output:
            code = run_to_end(command(here, step.role, *step.module), output, watch)
        if code:
            name = " ".join(step.module[:3])
            raise StepFailedError(f"{step.title}: {name} ended with exit code {code}; the end of {log}:\n{tail(log)}")
        if step.after is not None:
            step.after()


def command(here: Installation, role: Role, module: str, *arguments: str, **environment: str) -> Command:
    """A Python module of ours, run as a role's user."""
    return Command(
        python(here.code.interpreter, module, *arguments),
        here.state.accounts.of(role),
        here.code.root,
        here.state.home(role),
        environment,
    )


def write_files(here: Installation) -> None:
    """Write the settings of each process, and the secrets that two of them share, each to its owners' own files."""
    state = here.state
    for name, owners in SHARED.items():
        secret = (secrets.token_hex(8) if name in {PASSWORD, ADMIN_PASSWORD} else secrets.token_urlsafe(32)).encode()
        for owner in owners:
            state.write(state.home(owner) / name, secret, owner)
    state.write(here.file("web", configuration.JOBS_KEY), secrets.token_urlsafe(32).encode(), "web")
    state.folder(configuration.token_directory(here), "sam")
    state.write(here.file("sam", "softhsm2.conf"), configuration.softhsm_conf(here).encode(), "sam")
    state.write(here.file("idp", "idp.toml"), dumps(configuration.idp(here)).encode(), "idp")
    state.write(here.file("web", "web.toml"), dumps(configuration.web(here)).encode(), "web")
    state.write(here.file("portal", "portal.toml"), dumps(configuration.portal(here)).encode(), "portal")
    state.write(here.file("sam", "sam.toml"), dumps(configuration.sam(here)).encode(), "sam")


def publish(source: Path, target: Path) -> None:
    """Copy public material out of a role's folder, for all to read; a link in its place is not followed."""
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as reader, target.open("wb") as writer:
        shutil.copyfileobj(reader, writer)
    target.chmod(PUBLIC_MODE)


def hand_over(here: Installation, source: Path, role: Role) -> Path:
    """Give a role's user a copy of a file of the demo person's, such as the order she downloaded."""
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as reader:
        return here.state.write(here.state.home(role) / source.name, reader.read(), role)


def _administrators(here: Installation, idp: tuple[str, ...], forget: Callable[[], None]) -> Iterator[Step]:
    """The people who administer the demo, each with a phone of their own in the inbox."""
    names = {ADMINISTRATOR: ("Ada Admin", "+15550101"), SECOND_OPERATOR: ("Otto Operator", "+15550102")}
    for username, roles in ROLES.items():
        name, phone = names[username]
        yield Step(
            f"demo administrator {username}",
            "idp",
            ("launcher", "idp", "account", "create", *idp, "--username", username, "--name", name,
             "--proofing", "substantial", "--phone", phone, "--password-file", str(here.file("idp", ADMIN_PASSWORD))),
            forget if username == SECOND_OPERATOR else None,
        )  # fmt: skip
        for role in roles:
            yield Step(
                f"role {role} for {username}",
                "idp",
                ("launcher", "idp", "role", "grant", *idp, "--username", username, "--role", role),
            )


def before_start(here: Installation) -> tuple[Step, ...]:
    """The steps that need no running service."""
    ports = here.ports
    idp, sam = ("--config", str(here.file("idp", "idp.toml"))), ("--config", str(here.file("sam", "sam.toml")))
    ca = here.file("dev", "ca")
    exported = here.file("idp", "activation.pem")
    client_key = here.file("web", "csc-client.jwk")

    def forget(name: str) -> None:
        # The identity provider keeps a hash; the copy that its command read has done its work.
        here.file("idp", name).unlink()

    def give(name: str, role: Role) -> None:
        hand_over(here, here.file("idp", name), role)
        here.file("idp", name).unlink()

    return (
        Step(
            "development certification authority",
            "dev",
            ("devservices.ca_http", "--state", str(ca), "--public-url", ports.url("trust"),
             "--token-file", str(here.file("dev", "ca-token")), "--init-only"),
            lambda: publish(ca / "root.crt", here.root_certificate),
        ),
        Step(
            "development time-stamping authority",
            "dev",
            ("devservices.tsa", "--state", str(here.file("dev", "tsa")), "--ca-state", str(ca), "--init-only"),
        ),
        Step("identity provider: database and keys", "idp", ("launcher", "idp", "init", *idp)),
        Step(
            "identity provider: the public activation key, for the module to pin",
            "idp",
            ("launcher", "idp", "keys", "export-activation", *idp, "--out", str(exported)),
            lambda: publish(exported, here.activation_key),
        ),
        Step(
            "demo relying party",
            "idp",
            ("launcher", "idp", "client", "create", *idp, "--client-id", RP_CLIENT, "--name", "Example Contracts",
             "--secret-file", str(here.file("idp", "rp-secret")), "--redirect-uri", here.redirect_uri,
             "--post-logout-redirect-uri", f"{ports.url('rp')}/",
             "--scope", "openid", "--scope", "service", "--scope", "credential",
             "--scope", "credential-creation", "--scope", "credential-deletion",
             "--document-location", f"{ports.url('rp')}/shown/",
             "--grant-type", "authorization_code", "--grant-type", "refresh_token", "--grant-type", CIBA),
            lambda: give("rp-secret", "dev"),
        ),
        Step(
            "the command privyseal sign",
            "idp",
            ("launcher", "idp", "client", "create", *idp, "--client-id", SIGN_CLIENT, "--name", "Privy Seal command",
             "--secret-file", str(here.file("idp", "sign-secret")),
             "--redirect-uri", f"{ports.url('sign')}/callback",
             "--scope", "service", "--scope", "credential", "--grant-type", "authorization_code",
             "--grant-type", CIBA),
            lambda: give("sign-secret", "dev"),
        ),
        Step(
            "signing service: a key pair with which it is the identity provider's client",
            "web",
            ("launcher", "operator", "keygen", "--out", str(here.file("web", CSC_KEY)),
             "--public-out", str(client_key)),
            lambda: publish(client_key, here.client_key),
        ),
        Step(
            "the signing service's own client",
            "idp",
            ("launcher", "idp", "client", "create", *idp, "--client-id", CSC_CLIENT, "--name", "Privy Seal CSC API",
             "--auth-method", "private_key_jwt", "--jwks-file", str(here.client_key), "--introspects", here.csc_base,
             "--scope", "service", "--grant-type", "client_credentials",
             "--grant-type", "urn:privyseal:params:oauth:grant-type:extend-transaction", "--grant-type", CIBA),
        ),
        *_portal(here, idp),
        Step(
            "demo person",
            "idp",
            ("launcher", "idp", "account", "create", *idp, "--username", PERSON, "--name", "Alice Example",
             "--given-name", "Alice", "--surname", "Example", "--proofing", "substantial", "--country", "ES",
             "--email", PERSON_EMAIL, "--phone", PERSON_PHONE,
             "--password-file", str(here.file("idp", PASSWORD))),
            lambda: forget(PASSWORD),
        ),
        *_administrators(here, idp, lambda: forget(ADMIN_PASSWORD)),
        *(operator(here, number) for number in OPERATORS),
        Step("signature activation module: token, server keys and database", "sam",
             ("launcher", "sam", "init", *sam,
              *(part for number in OPERATORS for part in ("--operator", str(here.operator_key(number)))))),
    )  # fmt: skip


def _portal(here: Installation, idp: tuple[str, ...]) -> Iterator[Step]:
    """The page for people: a relying party with a key pair, a database and a sealing key of its own."""
    public = here.file("portal", "portal-client.jwk")
    yield Step(
        "portal: a key pair with which it is the identity provider's client",
        "portal",
        ("launcher", "operator", "keygen", "--out", str(here.file("portal", PORTAL_KEY)), "--public-out", str(public)),
        lambda: publish(public, here.portal_client_key),
    )
    yield Step(
        "the portal as a relying party",
        "idp",
        ("launcher", "idp", "client", "create", *idp, "--client-id", PORTAL_CLIENT, "--name", "Privy Seal Documents",
         "--auth-method", "private_key_jwt", "--jwks-file", str(here.portal_client_key),
         "--redirect-uri", f"{here.ports.url('portal')}/callback",
         "--post-logout-redirect-uri", f"{here.ports.url('portal')}/",
         "--document-location", f"{here.ports.url('portal')}/shown/",
         "--scope", "openid", "--scope", "service", "--scope", "credential", "--grant-type", "authorization_code"),
    )  # fmt: skip
    yield Step(
        "portal: sealing key and database",
        "portal",
        ("launcher", "portal", "init", "--config", str(here.file("portal", "portal.toml"))),
    )


def operator(here: Installation, number: int) -> Step:
    """A development operator: one machine and one user have both keys, which real operators would not."""
    name = f"operator-{number}"
    public = here.file("dev", f"{name}.jwk")
    return Step(
        f"development operator {number}: a key pair",
        "dev",
        ("launcher", "operator", "keygen", "--out", str(here.file("dev", f"{name}.pem")), "--public-out", str(public)),
        lambda: publish(public, here.operator_key(number)),
    )


def after_start(here: Installation) -> tuple[Step, ...]:
    """The steps that go through the running services, as the demo person would."""
    order = here.file("dev", "credential-order.jws")
    return (
        Step(
            "the demo person orders a signing credential",
            "dev",
            ("examples.walkthrough", *person_options(here), "--create-credential-order", str(order)),
            lambda: hand_over(here, order, "web"),
        ),
        Step(
            "key made in the token, certificate issued and linked",
            "web",
            ("launcher", "credential", "create", "--order", str(here.file("web", order.name)),
             "--config", str(here.file("web", "web.toml"))),
        ),
    )  # fmt: skip


def person_options(here: Installation) -> tuple[str, ...]:
    """What the walkthrough is told about the services and the demo person."""
    return (
        "--issuer", here.ports.url("idp"), "--csc", here.csc_base, "--inbox", here.ports.url("inbox"),
        "--redirect-uri", here.redirect_uri, "--username", PERSON, "--phone", PERSON_PHONE, "--email", PERSON_EMAIL,
        "--password-file", str(here.file("dev", PASSWORD)),
    )  # fmt: skip
