"""Binding an authenticator to one's own account: one module a kind, each with its page and what its form proves.

:mod:`idp.web.enrol.flow` has what they share: the policy's approval before, one transaction at the end, and no
evidence from it: enrolment never raises the login during which it happens (ENR-02).
"""
