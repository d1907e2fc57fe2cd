"""The page for people: documents in, signatures at the signing service, documents back.  A relying party."""
