"""The interface to the container engine: each call has a deadline, and raises errors of
`coderunner.errors`."""
