"""The canary's probes: a program that attacks the container in which it runs as PID 1.

It is sent to the container as source text, so it uses only the standard library and its own modules. Each
probe prints one line of JSON, `{"probe", "promise", "outcome", "detail"}`. The outcome is `held`, `broken`
(the limit does not hold), `untried` (it cannot be tested on this machine) or `error` (the probe itself
failed). The last line is `{"done": n}`, with the number of probes.

A probe must be able to fail, so it tests for what only its setting causes. For example, a write to /etc fails
for an unprivileged user on any file system, so the mount's read-only flag is tested as well.
"""
