"""The development services without a socket."""
