"""The identity provider's own database and key directory."""
