"""Proving a further factor: one module a kind, each with its page and what its form does.

:mod:`idp.web.prove.registry` names them to the interaction's pages; codes that are sent have :mod:`idp.web.otp`.
"""
