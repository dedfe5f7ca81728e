"""A client of the protocol, for the commands that use a running server from outside."""
