"""Documents that a relying party names by their places: fetched, compared with their digests, and shown."""
