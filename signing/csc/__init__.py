"""The Cloud Signature Consortium API: one core, spoken in the dialects v1.0.4 and v2.0.0.2."""
