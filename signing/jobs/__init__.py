"""Asynchronous operations of the web tier: kept, carried out, fetched; in tables and a database role of their own."""
