"""Measures the latencies that a client of a running server sees, and compares them with an earlier run."""
