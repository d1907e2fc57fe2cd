"""Where a person's own device approves: pages on a host of their own, and what comes back from there.

A login cannot carry a proof: the passkeys that approve have a relying party identifier that no page of the login can
use, and no cookie of the login's reaches this host (``docs/signer-proof.md``).
"""
