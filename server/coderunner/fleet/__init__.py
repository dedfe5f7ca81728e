"""What provides and counts the sessions: admission, warm containers, openings, groups, adoption, sweep."""
