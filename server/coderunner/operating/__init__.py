"""The parts of the operator's interface besides sessions: figures over time, the newest log records, jobs on
images, load tests."""
