"""The signing side: the web tier (CSC API, enrolment) and the signature activation module behind ``link``."""
