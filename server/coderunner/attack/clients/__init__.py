"""Hostile clients, by what they attack."""
