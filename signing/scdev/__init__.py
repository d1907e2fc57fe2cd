"""Signature creation device: keys in a PKCS#11 token, reached through supervised worker processes."""
