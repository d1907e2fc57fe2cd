"""X.509 certificates of people: presented, validated, not revoked, and whose they are.

:mod:`.presented` reads what a proxy hands on (RFC 9440), :mod:`.chain` validates the path (RFC 5280, clause 6),
:mod:`.ocsp` and :mod:`.crl` judge what authorities say about revocation (RFC 6960, RFC 5280 clause 6.3), :mod:`.facts`
tells what stands in a certificate and what an operator takes it for, :mod:`.mapping` which account it may belong to.
Nothing here opens a connection.
"""
