"""What browsers and relying parties see of the identity provider: Flask blueprints, one a concern."""
