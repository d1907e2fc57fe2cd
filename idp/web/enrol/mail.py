"""A mail address for codes by e-mail."""

from __future__ import annotations

from typing import Final

from idp.web.enrol.message import enroller
from idp.web.enrol.registry import Enroller

ENROLLER: Final[Enroller] = enroller("email_otp")
