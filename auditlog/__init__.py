"""A tamper-evident chain of records: pure in :mod:`auditlog.chain`, in a database through :mod:`auditlog.sql`."""
