"""The version of this package by itself."""

__version__ = "0.1.0"
