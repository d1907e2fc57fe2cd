"""X.509 certificates as both sides judge them: algorithms, paths, and what authorities say about revocation.

:mod:`.reading` reads a certificate, :mod:`.path` validates its path (RFC 5280, clause 6), :mod:`.ocsp` and :mod:`.crl`
judge what authorities say about revocation (RFC 6960, RFC 5280 clause 6.3), :mod:`.algorithms` says which keys and
signatures count.  Only :mod:`.fetching` opens connections, through the egress guard.
"""
