"""Backups: a database's rows from one moment, as one encrypted file, and back into an empty database.

Knows neither side; each names its own tables.
"""
