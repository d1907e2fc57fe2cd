"""Signature creation device: keys in a PKCS#11 token, reached through supervised worker processes.

``device`` is what others use; ``token`` prepares a token beforehand.
"""
