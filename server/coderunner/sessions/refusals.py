"""What an agent refuses, as errors of ours."""

from __future__ import annotations

from coderunner import errors
from coderunner.errors import FilesFailed
from coderunner.schema.reports import Fault


def problem(fault: Fault) -> errors.CodeRunnerError:
    """An agent's error as one of ours; FilesFailed for a code that is not an agent's to use."""
    return _BY_CODE.get(fault.code, FilesFailed)(fault.message[:1000])


# The errors that are an agent's to name.
_BY_CODE = {
    kind.code: kind
    for kind in (
        errors.BadPath, errors.ChannelLimit, errors.ChannelUsed, errors.ChannelsBusy, errors.FileExists,
        errors.FilesBusy, errors.FilesFailed, errors.InternalError, errors.NoChannel, errors.NoFile,
        errors.StartFailed, errors.WorkspaceFull,
    )
}  # fmt: skip
