"""Validation of signed PDFs (ETSI EN 319 102-1), on pyHanko: a report, and no judgement about people or law."""
