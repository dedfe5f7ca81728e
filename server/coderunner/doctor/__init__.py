"""`coderunner doctor`: checks machine, engine, settings and server, and says how to fix each problem."""
