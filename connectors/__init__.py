"""Everything that belongs to a third party: ports, and implementations that are reached by entry point only."""
