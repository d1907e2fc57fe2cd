"""A time-stamping authority for development: certomancer behind checks of its own, under the development root.

certomancer reads a configuration file that this module writes; the unit's certificate comes from the development CA, so
one root verifies signatures and time-stamps alike.  certomancer grants whatever it is asked, so the requests that
RFC 3161 wants rejected are rejected here before it sees them.
"""

from __future__ import annotations

import argparse
import logging
import sys
import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from asn1crypto import cms, core, tsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key
from werkzeug.wrappers import Request, Response

from devservices.ca import UnsafeDevelopmentCertificateAuthority
from devservices.errors import MethodNotAllowed, NotFound, RequestMalformed, StateUnusable
from devservices.profiles import TSA_POLICY
from devservices.serving import Handler, bind, json_response, port_number, run, serve
from devservices.state import (
    locked,
    open_directory,
    read_certificate,
    read_key,
    write_certificate,
    write_key,
    write_whole,
)
from foundation.clock import Clock, SystemClock

log = logging.getLogger(__name__)

DEFAULT_PORT = 8406

ARCHITECTURE = "development"
SERVICE = "tsa"

COMMON_NAME = "Privy Seal Development TSA"

RENEWAL = timedelta(days=30)

DIGEST_LENGTHS = {"sha256": 32, "sha384": 48, "sha512": 64}
"""The imprints that are stamped, with their lengths in octets; others are answered with badAlg."""


class UnsafeDevelopmentTsa:
    """One time-stamping unit on certomancer's code."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        """Load certomancer with the configuration in ``directory``; see :func:`prepare`."""
        from certomancer.registry import ArchLabel, CertomancerConfig, ServiceLabel

        log.warning("UnsafeDevelopmentTsa: its key is in a file and its clock is this machine's")
        config = CertomancerConfig.from_file(
            str(directory / "certomancer.yml"), key_search_dir=str(directory), config_search_dir=str(directory)
        )
        self._services: Any = config.get_pki_arch(ArchLabel(ARCHITECTURE)).service_registry
        self._label = ServiceLabel(SERVICE)
        self._clock = clock
        self._lock = threading.Lock()

    def answer(self, request: bytes) -> bytes:
        """The DER response to a DER request (RFC 3161 clause 2.4); refusals are responses too."""
        # 1. Well-formed DER of the first version.
        try:
            asked = tsp.TimeStampReq.load(request, strict=True)
            version = asked["version"].native
            algorithm = asked["message_imprint"]["hash_algorithm"]["algorithm"].native
            imprint = asked["message_imprint"]["hashed_message"].native
            policy = asked["req_policy"].native
            extensions = asked["extensions"].native
        except (ValueError, TypeError):
            return _rejection("bad_data_format")
        if version != "v1":
            return _rejection("bad_request")
        # 2. A digest that can still be relied on, of its right length.
        if algorithm not in DIGEST_LENGTHS:
            return _rejection("bad_alg")
        if len(imprint) != DIGEST_LENGTHS[algorithm]:
            return _rejection("bad_data_format")
        # 3. Nothing that this authority does not do.
        if policy is not None and policy != TSA_POLICY.dotted_string:
            return _rejection("unaccepted_policy")
        if extensions:
            return _rejection("unaccepted_extensions")
        # 4. The token; certomancer keeps no state worth trusting to threads.
        with self._lock:
            unit = self._services.summon_timestamper(self._label, self._clock.now().replace(microsecond=0))
            unit.policy = tsp.ObjectIdentifier(TSA_POLICY.dotted_string)
            return bytes(_identified(unit.request_tsa_response(asked), unit).dump())


def _identified(response: Any, unit: Any) -> Any:
    """The response with its signer identified by SHA-256 (ESSCertIDv2: RFC 5816, ETSI EN 319 422), signed anew."""
    signer = response["time_stamp_token"]["content"]["signer_infos"][0]
    named = tsp.ESSCertIDv2({"cert_hash": unit.tsa_cert.sha256})
    kept = [each for each in signer["signed_attrs"] if each["type"].native != "signing_certificate"]
    version_2 = {"type": "signing_certificate_v2", "values": [tsp.SigningCertificateV2({"certs": [named]})]}
    signer["signed_attrs"] = cms.CMSAttributes([*kept, cms.CMSAttribute(version_2)])
    key = load_der_private_key(unit.tsa_key.dump(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise StateUnusable("the time-stamping unit's key is of another kind than this service makes")
    # RFC 5652 5.4: over the attributes with the tag of a SET OF.
    signer["signature"] = key.sign(signer["signed_attrs"].untag().dump(force=True), ec.ECDSA(hashes.SHA256()))
    return response


def _rejection(failure: str) -> bytes:
    status = tsp.PKIStatusInfo({"status": "rejection", "fail_info": {failure}})
    # asn1crypto takes the token for mandatory; without it the response is a SEQUENCE of the status alone.
    return bytes(core.SequenceOf([status], spec=tsp.PKIStatusInfo).dump())


def prepare(directory: Path, ca_directory: Path, clock: Clock) -> None:
    """Make key, certificate and certomancer's configuration, unless they are there and last for a while.

    :param ca_directory: the development CA's state directory, which must have been made.
    :raises StateUnusable: one of the directories cannot be used.
    """
    open_directory(directory)
    with locked(directory):
        if not _is_current(directory, ca_directory, clock):
            authority = open_authority(ca_directory, clock)
            key = ec.generate_private_key(ec.SECP256R1())
            write_key(directory / "tsa.key", key)
            write_certificate(directory / "root.crt", authority.certificate("root"))
            write_certificate(directory / "tsa.crt", authority.issue_tsa(key.public_key(), COMMON_NAME))
        write_whole(directory / "certomancer.yml", yaml.safe_dump(configuration()).encode(), 0o600)


def open_authority(ca_directory: Path, clock: Clock) -> UnsafeDevelopmentCertificateAuthority:
    """The development CA over its existing state directory.

    :raises StateUnusable: it was not made yet.
    """
    from devservices.register import Register

    register_file = ca_directory / "register.sqlite3"
    public_url = Register(register_file).meta("public_url") if register_file.exists() else None
    if public_url is None:
        raise StateUnusable(f"{ca_directory}: no development CA here yet; start devservices.ca_http first")
    return UnsafeDevelopmentCertificateAuthority(ca_directory, public_url, clock=clock)


def _is_current(directory: Path, ca_directory: Path, clock: Clock) -> bool:
    """Whether the unit's certificate is of the present root, belongs to the key and lasts."""
    certificate_file = directory / "tsa.crt"
    if not certificate_file.exists():
        return False
    certificate, root = read_certificate(certificate_file), read_certificate(ca_directory / "root.crt")
    return (
        root == read_certificate(directory / "root.crt")
        and certificate.public_key() == read_key(directory / "tsa.key").public_key()
        and certificate.not_valid_after_utc - clock.now() > RENEWAL
    )


def configuration() -> dict[str, Any]:
    """certomancer's configuration: both certificates exist already, the root's key is not known to it."""
    validity = {"valid-from": "2000-01-01T00:00:00+0000", "valid-to": "2100-01-01T00:00:00+0000"}
    certificates = {
        label: {
            "subject": label, "subject-key": "tsa", "issuer": "root", "authority-key": "tsa", "validity": validity,
            "certificate-file": f"{label}.crt",
        }
        for label in ("root", "tsa")
    }  # fmt: skip
    return {
        "external-url-prefix": "http://127.0.0.1",
        "keysets": {"keys": {"path-prefix": ".", "keys": {"tsa": {"path": "tsa.key"}}}},
        "pki-architectures": {
            ARCHITECTURE: {
                "keyset": "keys",
                "entities": {"root": {"common-name": "root"}, "tsa": {"common-name": COMMON_NAME}},
                "certs": certificates,
                "services": {"time-stamping": {SERVICE: {"signing-key": "tsa", "signing-cert": "tsa"}}},
            }
        },
    }


class TsaHandler:
    """RFC 3161 clause 3.4 at ``POST /tsa``."""

    def __init__(self, authority: UnsafeDevelopmentTsa, certificate: x509.Certificate) -> None:
        self._authority = authority
        self._subject = certificate.subject.rfc4514_string()

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        if request.path == "/healthz":
            return json_response(200, {"status": "ok", "subject": self._subject})
        if request.path != "/tsa":
            raise NotFound("time-stamps are at /tsa")
        if request.method != "POST":
            raise MethodNotAllowed("time-stamps are asked for with POST")
        if request.mimetype != "application/timestamp-query":
            raise RequestMalformed("the body is not application/timestamp-query")
        response = Response(self._authority.answer(request.get_data()), content_type="application/timestamp-reply")
        response.headers["Cache-Control"] = "no-store"
        return response


def build(state: Path, ca_state: Path, clock: Clock | None = None) -> Handler:
    """The HTTP handler over a state directory, which is made when missing."""
    clock = clock or SystemClock()
    prepare(state, ca_state, clock)
    return TsaHandler(UnsafeDevelopmentTsa(state, clock), read_certificate(state / "tsa.crt"))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(prog="python -m devservices.tsa", description=__doc__)
    command.add_argument("--state", type=Path, required=True, help="directory for key and configuration (made, 0700)")
    command.add_argument("--ca-state", type=Path, required=True, help="the development CA's state directory")
    command.add_argument("--host", default="127.0.0.1", help="loopback address to listen on (default %(default)s)")
    command.add_argument("--port", type=port_number, default=DEFAULT_PORT, help="default %(default)s; 0: any free port")
    command.add_argument("--init-only", action="store_true", help="make the state directory and end")
    return command


def start(argv: Sequence[str] | None) -> None:
    """Serve until told to end.

    :raises foundation.errors.PrivySealError: it cannot start.
    """
    options = parser().parse_args(argv)
    if options.init_only:
        prepare(options.state, options.ca_state, SystemClock())
        return
    with bind(options.host, options.port) as listener:
        serve(listener, build(options.state, options.ca_state))


def main(argv: Sequence[str] | None = None) -> int:
    """The command; see :func:`parser`. Returns the exit status."""
    return run(start, argv)


if __name__ == "__main__":
    sys.exit(main())
