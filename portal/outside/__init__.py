"""What the portal asks of others, over public protocols: the identity provider and the signing service."""
