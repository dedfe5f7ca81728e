"""The HTTP API for runs and batches: their answers and events."""
