"""Passkeys: WebAuthn Level 3 as its relying party.  Pure: what is asked of a browser, and what its answer proves."""
