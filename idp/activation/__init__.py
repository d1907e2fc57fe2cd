"""From an approved signature intent to signature activation data, and to orders.  Pure."""
