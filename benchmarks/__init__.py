"""Benchmarks: one script a question, each answer a ratio against a named peer or limit of the same run."""
