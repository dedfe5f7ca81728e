"""Tests the languages' images by running their samples on a running server, as a client."""
