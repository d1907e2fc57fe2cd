"""What the identity provider and the signature activation module agree on, and nothing else."""
