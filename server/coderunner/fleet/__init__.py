"""Provides and counts sessions: admission, warm containers, openings, groups, adoption, sweep."""
