"""Certificates at the edge: who presented one, what its authority says now, and how it comes back to a page."""
