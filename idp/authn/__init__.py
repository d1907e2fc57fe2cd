"""Authentication: evidence, sessions, step-up and the authenticators that yield evidence.  Pure."""
