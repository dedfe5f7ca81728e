"""The HTTP interface for programs: runs and batches, their answers and events."""
