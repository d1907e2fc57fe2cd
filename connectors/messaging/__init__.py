"""SMS and mail gateways."""
