"""The policy files that are shipped; data only, read by whoever is given their path."""
