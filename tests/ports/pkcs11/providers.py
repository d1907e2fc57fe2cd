"""Providers of PKCS#11 that run here, with what each is known not to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.fakes.softhsm import SOFTHSM2_MODULE, empty_token_directory

LABEL = "contract"
SO_PIN, USER_PIN = b"so-pin-of-the-contract", b"user-pin-of-the-contract"


@dataclass(frozen=True, slots=True)
class Provider:
    """A module, how it is started, and the clauses of the contract that it does not fulfil."""

    name: str
    package: str
    """Debian's."""
    module: Path
    slot: int | None
    """Id of the slot whose token is used; None: the one that was initialised with the label."""
    incapable: Mapping[str, str]
    """By clause: what is seen instead.  Exactly these: one more fails a test, and so does one that works after all."""

    def environment(self, directory: Path) -> dict[str, str]:
        """What the module reads; makes what it needs."""
        return empty_token_directory(directory) if self.name == "softhsm2" else {}

    def parameters(self, directory: Path) -> str | None:
        """For C_Initialize."""
        if self.name == "nss":
            return f"configdir='sql:{directory}' certPrefix='' keyPrefix='' secmod='' flags="
        return None


SOFTHSM2 = Provider(
    "softhsm2",
    "softhsm2",
    SOFTHSM2_MODULE,
    None,
    MappingProxyType(
        {
            "ecdsa_with_sha256": "CKM_ECDSA_SHA256 is not offered",
            "an_altered_blob_has_a_code_of_its_own": "CKR_GENERAL_ERROR",
        }
    ),
)
NSS = Provider(
    "nss",
    "libnss3",
    next(Path("/usr/lib").glob("*/libsoftokn3.so"), Path("/usr/lib/libsoftokn3.so")),
    2,
    MappingProxyType(
        {
            # It wraps RSA keys only.
            "wraps_ec_by_aes_kwp": "CKR_TEMPLATE_INCOMPLETE",
            "what_is_unwrapped_is_as_its_template_says": "CKA_SIGN_RECOVER is True",
            # What keeps keys of others on a token that is shared, it does not.
            "what_is_not_extractable_is_not_wrapped": "a key not EXTRACTABLE was wrapped",
            "wrap_with_trusted_is_obeyed": "wrapped by a key that is not TRUSTED",
            "a_user_makes_no_trusted_key": "the user made a TRUSTED key",
            # Its database holds no CKO_DATA.
            "private_data_objects_are_kept": "CKR_ATTRIBUTE_VALUE_INVALID",
        }
    ),
)
PROVIDERS = {provider.name: provider for provider in (SOFTHSM2, NSS)}
