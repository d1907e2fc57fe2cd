"""What the product asks of third parties: a Protocol, its types and its errors, one page each."""
