"""`coderunner doctor`: looks at machine, engine, settings and server, and says what mends each."""
