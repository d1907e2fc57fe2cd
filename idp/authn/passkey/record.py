"""A registered passkey, as the authenticator's row keeps it (the credential record of WebAuthn 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foundation.errors import JoseError
from foundation.jose import decode_base64url, encode_base64url
from idp.authn.passkey.answer import TRANSPORTS
from idp.authn.passkey.options import Known
from idp.errors import PasskeyRefused


@dataclass(frozen=True, slots=True)
class Passkey:
    """What is public about a passkey; its counter is a column of its own."""

    credential_id: bytes
    public_key: bytes
    """COSE_Key (RFC 9052 7)."""
    user_handle: bytes
    aaguid: str
    """The make and model, as the authenticator says; proved only where ``attested``."""
    transports: tuple[str, ...]
    format: str
    """Of the attestation statement."""
    user_verified: bool
    """Its user was verified when it was made (``uvInitialized``)."""
    backup_eligible: bool
    attested: bool
    backed_up: bool = False
    """Whether it had been copied when it was last used (BS); evidence of that use."""

    @property
    def known(self) -> Known:
        """As options name it."""
        return Known(self.credential_id, self.transports)

    @property
    def attestation(self) -> str | None:
        """The make for a policy's ``attestation`` conditions: the AAGUID, where it is proved."""
        return self.aaguid if self.attested else None

    def to_json(self) -> dict[str, Any]:
        """JSON values; ``flags`` and ``attestation`` as :mod:`idp.authn.methods` reads them."""
        flags = {
            "user_verified": self.user_verified,
            "backup_eligible": self.backup_eligible,
            "attested": self.attested,
        }
        return {
            "credential_id": encode_base64url(self.credential_id),
            "public_key": encode_base64url(self.public_key),
            "user_handle": encode_base64url(self.user_handle),
            "aaguid": self.aaguid,
            "transports": list(self.transports),
            "format": self.format,
            "flags": [name for name, there in flags.items() if there],
            "attestation": self.attestation,
            "backed_up": self.backed_up,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Passkey:
        """The passkey that :meth:`to_json` wrote.

        :raises PasskeyRefused: ``unknown``: the row is of another form.
        """
        try:
            flags = value["flags"]
            return cls(
                credential_id=decode_base64url(value["credential_id"].encode()),
                public_key=decode_base64url(value["public_key"].encode()),
                user_handle=decode_base64url(value["user_handle"].encode()),
                aaguid=str(value["aaguid"]),
                transports=tuple(name for name in TRANSPORTS if name in value["transports"]),
                format=str(value["format"]),
                user_verified="user_verified" in flags,
                backup_eligible="backup_eligible" in flags,
                attested="attested" in flags,
                backed_up=value.get("backed_up") is True,
            )
        except (KeyError, TypeError, AttributeError, JoseError) as error:
            raise PasskeyRefused("unknown", "the stored passkey cannot be read") from error
