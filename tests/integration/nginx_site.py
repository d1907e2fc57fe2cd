"""The shipped nginx configuration in front of the real server, with an authority that answers about certificates."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from cryptography import x509
from cryptography.x509 import ocsp as der

from foundation.clock import SystemClock
from foundation.files import write_secret
from idp.cli.administration import main
from launcher.toml import dumps
from tests import pki
from tests.architecture.source import ROOT
from tests.fakes.idp import PASSWORD
from tests.integration.answering_authority import Answer, Responder, answering
from tests.integration.granian import ACCESS_LOG, granian, wait
from tests.pki import Issued, Leaf
from tests.sockets import free_port

SHIPPED = ROOT / "deploy" / "nginx"
IDP, CERT, MTLS = "idp.localhost", "cert.idp.localhost", "mtls.idp.localhost"
SIGN, SIGN_MTLS = "sign.localhost", "mtls.sign.localhost"
DOCUMENTS = "documents.localhost"
SECRET = "a-secret-of-the-proxy-0123456789abcdef"
NUMBER = "PNOES-12345678Z"
PATIENCE = 20
POLICY = """\
policy: 1
name: certificates
levels:
  - name: known
    acr: urn:example:known
    any_of:
      - all_of: [{factor: certificate}]
      - all_of: [{factor: password}]
  - name: strong
    acr: urn:example:strong
    implies: known
    any_of:
      - all_of: [{factor: password}, {factor: certificate}]
        different_categories: 2
rules:
  - {id: sign-in, action: [sign_in, account.enrol_factor, account.reset_factor], require: known}
  - {id: order, action: credential.create, require: strong, because: A credential takes a certificate as well.}
"""
NGINX = """\
daemon off;
worker_processes 1;
pid nginx.pid;
error_log error.log warn;
events { worker_connections 128; }
http {
    access_log access.log;
    client_body_temp_path temporary;
    proxy_temp_path temporary;
    fastcgi_temp_path temporary;
    uwsgi_temp_path temporary;
    scgi_temp_path temporary;
    include privyseal-http.conf;
    include privyseal.conf;
    include privyseal-sign.conf;
    include privyseal-portal.conf;
}
"""


@dataclass(frozen=True)
class Answered:
    """An answer over HTTP."""

    status: int
    headers: dict[str, str]
    text: str


@dataclass
class Site:
    """nginx, the servers behind it, an authority for people's certificates, and one for the servers' own."""

    directory: Path
    port: int
    behind: int
    root: pki.Authority
    servers: pki.Authority
    responder: Responder
    now: datetime = field(default_factory=SystemClock().now)
    sign: int = 9
    """Port of the signing service, where there is one."""
    portal: int = 9
    """Port of the page for people, where there is one."""

    def person(self, **values: Any) -> Issued:
        """A certificate of ours for alice."""
        day = timedelta(days=1)
        begin, end = self.now - day, self.now + 300 * day
        return self.root.issue(self.responder.leaf(**{"begin": begin, "end": end, **values}))

    def says(self, issued: Issued, status: der.OCSPCertStatus = der.OCSPCertStatus.GOOD) -> None:
        """What the authority answers from now on."""
        times = {"this_update": self.now - timedelta(minutes=1), "next_update": self.now + timedelta(hours=1)}

        def answer(request: bytes) -> bytes:
            nonce = der.load_der_ocsp_request(request).extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
            return self.root.ocsp(issued.certificate, nonce, status=status, **times)

        self.responder.ocsp = answer

    def silent(self) -> None:
        """The authority answers nothing."""
        nothing: Answer = lambda _request: 503  # noqa: E731 - it is data
        self.responder.ocsp = self.responder.crl = nothing

    @property
    def issuer(self) -> str:
        return f"https://{IDP}:{self.port}"

    @contextmanager
    def tls(self, host: str, issued: Issued | None = None) -> Iterator[ssl.SSLSocket]:
        """A connection to nginx under a name, with a certificate or without one."""
        context = ssl.create_default_context(cadata=self.servers.pem.decode())
        if issued is not None:
            with tempfile.NamedTemporaryFile(suffix=".pem") as both:
                both.write(issued.pem + issued.key_pem)
                both.flush()
                context.load_cert_chain(both.name)
        with (
            socket.create_connection(("127.0.0.1", self.port), PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname=host) as connection,
        ):
            yield connection

    def raw(self, host: str, request: bytes, issued: Issued | None = None, *, first: float = 60.0) -> bytes:
        """All that comes back until nginx hangs up, or is silent for a second.

        :param first: seconds in which it has to begin to answer, where it does at all.
        """
        got = bytearray()
        with self.tls(host, issued) as connection:
            connection.sendall(request)
            connection.settimeout(first)
            try:
                while chunk := connection.recv(65536):
                    got += chunk
                    connection.settimeout(1)
            except (TimeoutError, OSError):
                pass
        return bytes(got)

    def ask(
        self,
        method: str,
        url: str,
        form: dict[str, str] | None = None,
        *,
        cookie: str = "",
        headers: dict[str, str] | None = None,
        issued: Issued | None = None,
        posted: object = None,
    ) -> Answered:
        """One request on a connection of its own; ``posted`` is sent as JSON."""
        parts = urlsplit(url)
        body = urlencode(form or {}).encode() if form is not None else b""
        lines = [f"{method} {parts.path}{'?' + parts.query if parts.query else ''} HTTP/1.1"]
        sent = {"Host": parts.netloc, "Connection": "close", **(headers or {})}
        if form is not None:
            sent |= {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(body))}
        if posted is not None:
            body = json.dumps(posted).encode()
            sent |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        if cookie:
            sent["Cookie"] = cookie
        lines += [f"{name}: {value}" for name, value in sent.items()]
        with self.tls(parts.hostname or "", issued) as connection:
            connection.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
            response = HTTPResponse(connection, method=method)
            response.begin()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answered(response.status, found, response.read().decode())

    def at_sign_in(self) -> tuple[str, str]:
        """A browser without an account at the sign-in page; returns its cookie and its ticket."""
        first = self.ask("GET", f"{self.issuer}/account/")
        cookie = first.headers["set-cookie"].split(";")[0]
        page = self.ask("GET", f"{self.issuer}{first.headers['location']}", cookie=cookie)
        return cookie, field_of(page.text, "certificate_ticket")

    def present(self, ticket: str, issued: Issued | None, **headers: str) -> Answered:
        """Post a ticket where certificates are presented."""
        url = f"https://{CERT}:{self.port}/certificate"
        return self.ask("POST", url, {"certificate_ticket": ticket}, issued=issued, headers=headers)

    def served(self) -> str:
        """What the server behind nginx has seen: a line for each request."""
        return (self.directory / "behind.log").read_text()


def field_of(page: str, name: str) -> str:
    """The value of a form's field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None, page
    return found.group(1)


def header_of(issued: Issued) -> str:
    """A certificate as RFC 9440 writes it."""
    return f":{base64.b64encode(issued.der).decode()}:"


@contextmanager
def site() -> Iterator[Site]:
    """All of it, in a directory of its own; nginx without privileges."""
    now = datetime.now(UTC)  # noqa: TID251 - real servers have real clocks
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nginx-")))
        made = Site(
            directory,
            free_port(),
            free_port(),
            pki.authority("People", at=now),
            pki.authority("Servers", at=now),
            stack.enter_context(answering()),
            now,
        )
        (directory / "nginx").mkdir()
        (directory / "idp").mkdir(mode=0o700)
        write_idp(made, directory / "idp")
        write_nginx(made, directory / "nginx")
        stack.enter_context(behind(made))
        stack.enter_context(nginx(made, directory / "nginx"))
        yield made


def write_idp(made: Site, directory: Path) -> None:
    """Settings, database, and two people."""
    (directory / "root.pem").write_bytes(made.root.pem)
    write_secret(directory / "proxy.secret", SECRET.encode())
    write_secret(directory / "password", PASSWORD.encode())
    (directory / "policy.yaml").write_text(POLICY)
    settings: dict[str, Any] = {
        "mode": "development",
        "issuer": made.issuer,
        "database_url": f"sqlite:///{directory / 'idp.sqlite'}",
        "key_dir": "keys",
        "policy_file": "policy.yaml",
        "egress_allow": [made.responder.address],
        "trusted_proxies": ["127.0.0.1"],
        "signing": {"csc_base": "http://sign.localhost:8402/csc/v2", "sam_id": "urn:sam"},
        "certificate": {
            "origin": f"https://{CERT}:{made.port}",
            "proxy_secret_file": "proxy.secret",
            "cache_seconds": 0,
            "anchors": {"people": {"file": "root.pem", "match": ["serial_number"]}},
        },
    }
    (directory / "idp.toml").write_text(dumps(settings))
    config = ("--config", str(directory / "idp.toml"))
    assert main(("init", *config)) == 0
    for person in (("alice", "--name", "Alice Example", "--serial-number", NUMBER), ("bob", "--name", "Bob Example")):
        given = ("--username", *person, "--password-file", str(directory / "password"))
        assert main(("account", "create", *given, *config)) == 0


def write_nginx(made: Site, directory: Path) -> None:
    """The shipped files, with this test's names, ports and paths."""
    for name in ("privyseal-common.conf", "privyseal-http.conf", "privyseal-proxy.conf"):
        shutil.copy(SHIPPED / name, directory / name)
    for name, shipped, host, behind in (
        ("privyseal.conf", "127.0.0.1:8401", "idp.example", made.behind),
        ("privyseal-sign.conf", "127.0.0.1:8402", "sign.example", made.sign),
        ("privyseal-portal.conf", "127.0.0.1:8408", "documents.example", made.portal),
    ):
        text = (SHIPPED / name).read_text()
        text = re.sub(r"\n *listen \[::\]:443.*", "", text).replace("listen 443", f"listen 127.0.0.1:{made.port}")
        text = text.replace(shipped, f"127.0.0.1:{behind}").replace("/etc/privyseal/nginx", str(directory))
        local = host.replace(".example", ".localhost")
        text = re.sub(rf"(Host (?:cert\.|mtls\.)?){re.escape(host)};", rf"\1{local}:{made.port};", text)
        (directory / name).write_text(text.replace(host, local))
    (directory / "nginx.conf").write_text(NGINX)
    (directory / "client-issuers.pem").write_bytes(made.root.pem)
    for name in ("proxy-secret.conf", "mtls-secret.conf", "sign-proxy-secret.conf"):
        (directory / name).write_text(f'proxy_set_header X-Privyseal-Proxy "{SECRET}";\n')
    for host in (IDP, CERT, MTLS, SIGN, SIGN_MTLS, DOCUMENTS):
        names = (x509.DNSName(host),)
        begin, end = made.now - timedelta(days=1), made.now + timedelta(days=30)
        own = made.servers.issue(Leaf(pki.name(host), begin, end, extended=None, names=names))
        (directory / f"{host}.pem").write_bytes(own.pem)
        (directory / f"{host}.key").write_bytes(own.key_pem)


@contextmanager
def behind(made: Site) -> Iterator[None]:
    """The real server; it writes a line for each request that it is given."""
    config, log = made.directory / "idp" / "idp.toml", made.directory / "behind.log"
    with granian("idp", made.behind, config, log=log, options=ACCESS_LOG):
        yield


@contextmanager
def nginx(made: Site, directory: Path, host: str = IDP) -> Iterator[None]:
    """Debian's nginx as nobody in particular.

    :param host: whose server behind it is there.
    """
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin")
    assert program is not None, "the Debian package nginx is missing (script/test installs it)"
    as_nobody: dict[str, Any] = {}
    if os.geteuid() == 0:
        made.directory.chmod(0o711)
        for path in (directory, *directory.iterdir()):
            shutil.chown(path, "nobody", "nogroup")
        as_nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    command = (program, "-p", str(directory), "-c", "nginx.conf", "-e", "error.log")
    with (made.directory / "nginx.out").open("wb") as log:
        process = subprocess.Popen(command, cwd=directory, stdout=log, stderr=log, **as_nobody)
        try:
            url = f"https://{host}:{made.port}/health/{'ready' if host == IDP else 'live'}"
            logs = [made.directory / "nginx.out", directory / "error.log", made.directory / "behind.log"]
            wait(lambda: made.ask("GET", url).status == 200, process, logs)
            yield
        finally:
            process.terminate()
            process.wait(30)
