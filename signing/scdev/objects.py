"""Labels and templates of what is on the token, shared by the ceremony and the workers."""

from __future__ import annotations

from typing import Final

from pkcs11 import Attribute

KEK_LABEL: Final = "privyseal-kek"
MAC_LABEL: Final = "privyseal-row-mac"
CANARY_LABEL: Final = "privyseal-canary"
CHECKPOINT_LABEL: Final = "privyseal-checkpoint"

P256: Final = "1.2.840.10045.3.1.7"
P384: Final = "1.3.132.0.34"

EC_PARAMETERS: Final[dict[str, bytes]] = {
    P256: bytes.fromhex("06082a8648ce3d030107"),
    P384: bytes.fromhex("06052b81040022"),
}
"""CKA_EC_PARAMS: the curve's OID in DER, by its dotted form."""

USER_KEY: Final[dict[int, object]] = {
    Attribute.TOKEN: False,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.SIGN: True,
    Attribute.SIGN_RECOVER: False,
    Attribute.DECRYPT: False,
    Attribute.UNWRAP: False,
    Attribute.DERIVE: False,
    Attribute.MODIFIABLE: False,
}
"""A user's key in use.  Also the CKA_UNWRAP_TEMPLATE of a KEK whose keys are never wrapped again: a token that honours
it unwraps to nothing else, whoever asks with the user PIN."""

UNWRAPPED: Final[dict[int, object]] = {
    Attribute.LOCAL: False,
    Attribute.ALWAYS_SENSITIVE: False,
    Attribute.NEVER_EXTRACTABLE: False,
}
"""What C_UnwrapKey makes of every key (PKCS #11 2.40 base, 5.13.4): where it was before, the token does not know."""

REWRAPPABLE: Final[dict[int, object]] = {
    Attribute.WRAP_WITH_TRUSTED: True,
    **{kind: value for kind, value in USER_KEY.items() if kind != Attribute.EXTRACTABLE},
}
"""The CKA_UNWRAP_TEMPLATE of a trusted KEK whose keys another trusted KEK can wrap, and nothing else."""
