"""CodeRunner: run code and use a live terminal in a browser, each session in a container of its own."""

__version__ = "0.1.0"
