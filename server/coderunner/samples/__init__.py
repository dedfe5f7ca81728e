"""The languages' samples as their self-test, run through a whole server as anybody would."""
