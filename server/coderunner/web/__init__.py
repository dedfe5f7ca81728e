"""HTTP and WebSockets: aiohttp only here.  Sessions know nothing of it."""
