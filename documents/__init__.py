"""What a document that somebody sends is, before it is signed or shown; no trust in whoever signed it before."""
