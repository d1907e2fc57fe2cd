"""Advanced electronic signatures, assembled around what the activation module signed (ETSI EN 319 122, EN 319 142)."""
