"""Work that programs order over HTTP: it outlives their connections, and this server's own restarts."""
