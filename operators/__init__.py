"""The operators' own command: their keys, and the operations that they sign.  Runs on no side, and trusts none."""
