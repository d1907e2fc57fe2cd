"""Tests of the examples: against a stub that speaks the public protocols, without the product."""
