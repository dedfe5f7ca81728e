"""The attack suite: hostile programs and clients against a running server, each with the expected outcome.

It uses only the server's protocol, so the same cases run in the tests and against
a deployment (`coderunner attack --url ...`).
"""
