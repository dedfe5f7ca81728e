"""The canary's probes: a program that attacks the container it runs in, as its PID 1.

It is sent to the container as source text, so it stands alone: the standard library and its own modules.
Each probe prints one line of JSON, `{"probe", "promise", "outcome", "detail"}`, as soon as it knows: `held`,
`broken` (the bound does not hold), `untried` (nothing here to try it on) or `error` (the probe itself
failed). A last line `{"done": n}` says that all have spoken.

A probe must be able to fail: it looks for what only its own setting brings about. A write to /etc fails for
an unprivileged user on any file system, so the mount's own read-only flag is asked, too.
"""
