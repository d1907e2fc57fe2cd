"""What Flask keeps for the request at hand, without its proxies, which cost four calls for each look."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from flask import Request, g, request
from flask.ctx import _AppCtxGlobals

kept: Final = cast("Callable[[], _AppCtxGlobals]", cast("Any", g)._get_current_object)  # public, for all its name
"""Flask's ``g``."""
asking: Final = cast("Callable[[], Request]", cast("Any", request)._get_current_object)
"""The request."""
