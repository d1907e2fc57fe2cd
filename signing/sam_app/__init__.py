"""The signature activation module as a process: parts, operations, sockets, start and end."""
