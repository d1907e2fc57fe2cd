"""Tests of the benchmarks' pure parts; what they measure is run by hand and by nobody's clock."""
