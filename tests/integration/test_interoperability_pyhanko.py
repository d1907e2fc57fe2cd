"""pyHanko's own client for the CSC API, unchanged, on version 1: single documents and batches, at SCAL2 and SCAL1."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Iterator

import aiohttp
import pytest
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko.sign.general import SigningError
from pyhanko.sign.signers import PdfSignatureMetadata, PdfSigner
from pyhanko.sign.signers.csc_signer import (
    CSCAuthorizationInfo,
    CSCAuthorizationManager,
    CSCCredentialInfo,
    CSCServiceSessionInfo,
    CSCSigner,
    PrefetchedSADAuthorizationManager,
    fetch_certs_in_csc_credential,
)
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

from examples.pdf_signing import BYTES_RESERVED
from examples.sample_contract import make_sample_pdf
from tests.fakes.device import FakeDevice
from tests.integration.in_band_world import ON, app_code, bind_app, policy_file
from tests.integration.oidc_world import PASSWORD, SHA256, answer
from tests.integration.whole_world import Whole, sign_hash, whole

Managed = Callable[[CSCServiceSessionInfo, CSCCredentialInfo], CSCAuthorizationManager]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with whole(tmp_path_factory.mktemp("pyhanko"), FakeDevice()) as running:
        yield running


@pytest.fixture(scope="module")
def typing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """Where the operator allows answers to be typed into applications."""
    directory = tmp_path_factory.mktemp("typing")
    identity = {"in_band": ON, "policy_file": policy_file(directory)}
    with whole(directory, FakeDevice(), identity=identity, explicit=True) as running:
        bind_app(running.idp, running.people["carol"].account_id)
        yield running


class Explicit(CSCAuthorizationManager):
    """Calls `credentials/authorize` with what the person typed, in pyHanko's own words."""

    def __init__(self, everything: Whole, session: CSCServiceSessionInfo, info: CSCCredentialInfo) -> None:
        super().__init__(session, info)
        self._everything = everything

    async def authorize_signature(self, hash_b64s: list[str]) -> CSCAuthorizationInfo:
        self._everything.idp.clock.advance(31)
        request = self.format_csc_auth_request(
            pin=PASSWORD, otp=app_code(self._everything.idp), hash_b64s=hash_b64s, description="Order 4711"
        )
        url = self.csc_session_info.endpoint_url("credentials/authorize")  # type: ignore[no-untyped-call] # pyHanko has none
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, headers=self.auth_headers, json=request, raise_for_status=True) as response,
        ):
            return self.parse_csc_auth_response(await response.json())


class AtScal2(CSCAuthorizationManager):
    """Has the digests in hand approved through OAuth."""

    def __init__(self, everything: Whole, session: CSCServiceSessionInfo, info: CSCCredentialInfo) -> None:
        super().__init__(session, info)
        self._everything = everything
        self.asked: list[list[str]] = []

    async def authorize_signature(self, hash_b64s: list[str]) -> CSCAuthorizationInfo:
        self.asked.append(hash_b64s)
        return CSCAuthorizationInfo(sad=await asyncio.to_thread(self._approve, hash_b64s))

    def _approve(self, digests: list[str]) -> str:
        idp = self._everything.idp
        rp, browser = idp.rp(), idp.browser()
        details = {
            "type": "credential",
            "credentialID": self.csc_session_info.credential_id,
            "documentDigests": [{"hash": digest, "label": "contract.pdf"} for digest in digests],
            "hashAlgorithmOID": SHA256,
        }
        asked = rp.parameters(scope="credential", nonce=None, authorization_details=json.dumps([details]))
        page = self._everything.sign_in(browser, browser.get(rp.pushed_url(asked)), "alice")
        code = answer(browser.approve(browser.step_up(page)))["code"]
        return str(rp.redeem(code).get_json()["access_token"])


async def signed(everything: Whole, username: str, token: str, manage: Managed, count: int = 1) -> list[bytes]:
    """As many PDFs, signed in one batch."""
    session_info = CSCServiceSessionInfo(
        service_url=everything.web_url, credential_id=everything.people[username].credential_id, oauth_token=token
    )
    async with aiohttp.ClientSession() as session:
        info = await fetch_certs_in_csc_credential(session, session_info)
        signer = CSCSigner(session, manage(session_info, info), batch_size=count, embed_roots=False)
        return list(await asyncio.gather(*(one(signer) for _ in range(count))))


async def one(signer: CSCSigner) -> bytes:
    metadata = PdfSignatureMetadata(field_name="Signature1", md_algorithm="sha256", subfilter=SigSeedSubFilter.PADES)
    output = io.BytesIO()
    await PdfSigner(metadata, signer=signer).async_sign_pdf(
        IncrementalPdfFileWriter(io.BytesIO(make_sample_pdf())), output=output, bytes_reserved=BYTES_RESERVED
    )
    return output.getvalue()


async def is_sound(pdf: bytes) -> bool:
    (embedded,) = PdfFileReader(io.BytesIO(pdf)).embedded_regular_signatures
    status = await async_validate_pdf_signature(embedded, ValidationContext(trust_roots=[]))
    return bool(status.intact and status.valid)


def all_sound(pdfs: list[bytes]) -> bool:
    return all(asyncio.run(is_sound(pdf)) for pdf in pdfs)


@pytest.mark.parametrize("count", [1, 5])
def test_at_scal2_through_oauth(everything: Whole, count: int) -> None:
    managers: list[AtScal2] = []

    def manage(session: CSCServiceSessionInfo, info: CSCCredentialInfo) -> CSCAuthorizationManager:
        assert info.hash_pinning_required
        managers.append(AtScal2(everything, session, info))
        return managers[-1]

    pdfs = asyncio.run(signed(everything, "alice", everything.service_token("alice"), manage, count))
    assert all_sound(pdfs)
    # one approval for the whole batch, of as many digests
    assert [len(digests) for digests in managers[0].asked] == [count]


def prefetched(everything: Whole, count: int, username: str = "carol") -> str:
    """A SAD for a number of signatures of whatever it may be."""
    rp, browser = everything.idp.rp("unsighted"), everything.idp.browser()
    asked = rp.parameters(
        scope="credential",
        nonce=None,
        credentialID=everything.people[username].credential_id,
        numSignatures=str(count),
        hashAlgorithmOID=SHA256,
    )
    page = everything.sign_in(browser, browser.get(rp.pushed_url(asked)), username)
    code = answer(browser.approve(browser.step_up(page)))["code"]
    return str(rp.redeem(code).get_json()["access_token"])


def with_prefetched(sad: str) -> Managed:
    def manage(session: CSCServiceSessionInfo, info: CSCCredentialInfo) -> CSCAuthorizationManager:
        assert not info.hash_pinning_required
        return PrefetchedSADAuthorizationManager(session, info, CSCAuthorizationInfo(sad=sad))

    return manage


@pytest.mark.parametrize("count", [1, 3])
def test_at_scal1_with_a_sad_that_was_fetched_before(everything: Whole, count: int) -> None:
    sad = prefetched(everything, count)
    token = everything.service_token("carol", "unsighted")
    assert all_sound(asyncio.run(signed(everything, "carol", token, with_prefetched(sad), count)))
    # and it is spent
    with pytest.raises(SigningError):
        asyncio.run(signed(everything, "carol", token, with_prefetched(sad)))


def test_more_than_a_prefetched_sad_allows_is_not_signed(everything: Whole) -> None:
    sad = prefetched(everything, 1)
    token = everything.service_token("carol", "unsighted")
    with pytest.raises(SigningError):
        asyncio.run(signed(everything, "carol", token, with_prefetched(sad), 2))


@pytest.mark.parametrize("count", [1, 3])
def test_at_scal1_with_pin_and_code_typed_into_the_application(typing: Whole, count: int) -> None:
    token = typing.service_token("carol", "typed")

    def manage(session: CSCServiceSessionInfo, info: CSCCredentialInfo) -> CSCAuthorizationManager:
        assert not info.hash_pinning_required
        assert info.response_data["authMode"] == "explicit"
        return Explicit(typing, session, info)

    assert all_sound(asyncio.run(signed(typing, "carol", token, manage, count)))


def test_at_scal2_nothing_is_signed_by_what_is_typed(typing: Whole) -> None:
    token = typing.service_token("alice", "typed")

    def manage(session: CSCServiceSessionInfo, info: CSCCredentialInfo) -> CSCAuthorizationManager:
        return Explicit(typing, session, info)

    with pytest.raises((SigningError, aiohttp.ClientError)):
        asyncio.run(signed(typing, "alice", token, manage))


def test_at_scal2_a_sad_without_digests_signs_nothing(everything: Whole) -> None:
    sad = prefetched(everything, 1, "alice")
    body = sign_hash(everything.people["alice"].credential_id, b"whatever")
    for version in ("v1", "v2"):
        refused = everything.call("signatures/signHash", body, sad, version)
        assert refused.get_json()["error_description"] == "Hash is not authorized by the SAD"
