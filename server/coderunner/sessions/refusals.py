"""Errors that an agent answers, as exceptions of this server."""

from __future__ import annotations

from coderunner import errors
from coderunner.errors import FilesFailed
from coderunner.schema.reports import Fault


def problem(fault: Fault) -> errors.CodeRunnerError:
    """The exception for an agent's error; FilesFailed for a code that agents do not use."""
    # The text is shown to users, and comes from a process that programs might have tampered with.
    return _BY_CODE.get(fault.code, FilesFailed)(fault.message[:1000])


# The errors that an agent may answer.
_BY_CODE = {
    kind.code: kind
    for kind in (
        errors.BadPath, errors.ChannelLimit, errors.ChannelUsed, errors.ChannelsBusy, errors.FileExists,
        errors.FilesBusy, errors.FilesFailed, errors.InternalError, errors.NoChannel, errors.NoFile,
        errors.StartFailed, errors.WorkspaceFull,
    )
}  # fmt: skip
