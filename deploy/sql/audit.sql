-- Rights on the audit chain of one database (the identity provider's, or the signature activation module's), PostgreSQL.
-- Run as the tables' owner after `privyseal idp init` or `privyseal sam init`; the roles are made beforehand:
--
--   psql --set=server=privyseal_sam --set=anchor=privyseal_anchor --file=deploy/sql/audit.sql DATABASE
--
-- The server's role may add records and signed checkpoints and move the head, and can neither change nor remove a record or a
-- checkpoint.  The anchor's role reads.
-- A role that owns the tables can give itself any right: the server must not run as the owner.

\set ON_ERROR_STOP on
BEGIN;
REVOKE ALL ON audit_entries, audit_head, audit_checkpoints FROM PUBLIC, :"server", :"anchor";
GRANT SELECT, INSERT ON audit_entries, audit_checkpoints TO :"server";
GRANT SELECT, UPDATE ON audit_head TO :"server";
GRANT SELECT ON audit_entries, audit_head, audit_checkpoints TO :"anchor";
COMMIT;
