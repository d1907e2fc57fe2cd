"""The leaf that both sides stand on: clock, settings, files, log filter, strict JOSE, egress guard, memory."""

__version__ = "0.1.0"
