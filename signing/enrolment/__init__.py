"""Enrolment: from an order to a credential with a certificate, and the credential's later life."""
