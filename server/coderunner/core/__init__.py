"""Values and decisions without I/O, clock or asyncio: the time is an argument."""
