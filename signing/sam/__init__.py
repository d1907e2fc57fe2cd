"""The signature activation module's core: what is verified, what is spent, what is asked of the device.  Pure."""
