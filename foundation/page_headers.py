"""Headers of pages that people use: what the identity provider and the portal say alike (SES-05, SES-09, SES-11)."""

from __future__ import annotations

from typing import Final

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; font-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'; form-action 'self'"
)
"""``form-action`` stands last: where the forms of a page may end elsewhere, those origins are appended."""
ALWAYS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=()"),
)
TRANSPORT_SECURITY: Final = ("Strict-Transport-Security", "max-age=31536000")
"""Where cookies are sent over https alone."""
STATIC_CACHE: Final = ("Cache-Control", "public, max-age=3600")
"""Of the files that are the same for everybody."""
NO_STORE: Final = ("Cache-Control", "no-store")
"""Of everything else."""
