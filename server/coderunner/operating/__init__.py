"""What the operator's room needs beside the sessions: figures over time, the last records of the log, work on
images, load tests."""
