"""OAuth 2.0 and OpenID Connect: requests read, responses built; no framework, no database, no clock."""
