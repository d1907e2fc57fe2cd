"""The one door between the web tier and the signature activation module: frames, messages, client, server."""
