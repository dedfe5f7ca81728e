"""The container engine behind calls of our own, each with a deadline and errors of our own tree."""
