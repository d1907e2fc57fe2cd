"""The signature activation module's database: credentials, orders, ledger, audit chain; SQLite or PostgreSQL."""
