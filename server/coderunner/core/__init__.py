"""Pure values and decisions: no I/O, no clock, no asyncio.
Functions that need the time take it as an argument."""
