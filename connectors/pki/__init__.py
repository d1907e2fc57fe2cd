"""Certification authorities."""
