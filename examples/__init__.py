"""What a customer would write: clients of Privy Seal that know its public protocols and import none of its packages."""
