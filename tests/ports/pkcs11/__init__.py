"""A contract for PKCS#11 providers: what the device asks of a token, asked of each provider there is."""
