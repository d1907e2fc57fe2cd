"""For those who use a signing service: speaks its public protocols, and imports nothing of it."""
