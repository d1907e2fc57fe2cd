"""A telephone number for codes by text message."""

from __future__ import annotations

from typing import Final

from idp.web.enrol.message import enroller
from idp.web.enrol.registry import Enroller

ENROLLER: Final[Enroller] = enroller("sms_otp")
