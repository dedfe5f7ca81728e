"""The attack suite: hostile programs and clients against a running server, each with what must happen.

It knows the server by its protocol alone, so the same cases run in the tests and against a deployment of
one's own (`coderunner attack --url ...`).
"""
