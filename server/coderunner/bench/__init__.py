"""What a client of a running server waits for: measured, and compared with a run of before."""
