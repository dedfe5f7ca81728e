"""HTTP and WebSockets. The only package that uses aiohttp's server; `sessions` does not depend on it."""
