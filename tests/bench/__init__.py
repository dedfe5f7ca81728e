"""Measures a server of its own, beside `docker run` and `docker exec` on the same machine, in one run."""
