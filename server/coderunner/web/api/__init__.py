"""What programs use: requests that run programs, and their answers and events."""
