"""The identity provider and authorisation server: accounts, authenticators, policy, OpenID Connect, activation."""
