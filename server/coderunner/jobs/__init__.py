"""Runs and batches requested over HTTP. They outlive the caller's connection and restarts of the server."""
