"""Errors for what cannot be had at this moment, or failed in the engine or a container."""

from __future__ import annotations

from coderunner.errors.base import CodeRunnerError

# --- not now ------------------------------------------------------------------------------------------


class CapacityError(CodeRunnerError):
    """Not now: there is no room, or not yet."""

    retryable = True
    close = 4503


class QueueFull(CapacityError):
    """All slots are taken, and so are all places in the queue."""

    code = "queue_full"


class QueueTimeout(CapacityError):
    """No slot became free before the deadline."""

    code = "queue_timeout"


class Draining(CapacityError):
    """The server is about to stop and takes no new sessions."""

    code = "draining"


class SpoolFull(CapacityError):
    """Answers that are kept leave no room for those of another run."""

    code = "spool_full"


class GroupFull(CapacityError):
    """The group has as many members as it may have."""

    code = "group_full"


class TooManyGroups(CapacityError):
    """There are as many groups as there may be, or no addresses are left for another."""

    code = "too_many_groups"


class LanguageNotReady(CapacityError):
    """The language's image is still being built."""

    code = "language_not_ready"


class LanguageFailed(CapacityError):
    """The language's image could not be built."""

    code = "language_failed"
    retryable = False


class DatabaseUnavailable(CapacityError):
    """The database of keys, tokens and quotas cannot be used at the moment."""

    code = "database_unavailable"


# --- the engine ---------------------------------------------------------------------------------------


class EngineError(CodeRunnerError):
    """The container engine or a container failed. The message holds the engine's own words."""


class EngineUnavailable(EngineError):
    """The container engine does not answer."""

    code = "engine_unavailable"
    retryable = True
    close = 4503


class EngineTimeout(EngineError):
    """The container engine did not finish in time."""

    code = "engine_timeout"
    retryable = True
    close = 4503


class ImageMissing(EngineError):
    """The language's image is not there."""

    code = "image_missing"
    retryable = True
    close = 4503


class ContainerGone(EngineError):
    """The container does not exist any more."""

    code = "container_gone"


class NameConflict(EngineError):
    """A container of this name exists already."""

    code = "name_conflict"
    retryable = True


class StartFailed(EngineError):
    """The container could not be started."""

    code = "start_failed"
    retryable = True
    close = 4503


class AgentLost(EngineError):
    """The agent in the container does not answer; the session is over."""

    code = "agent_lost"
    close = 1011


class NetworkFailed(EngineError):
    """The group's network could not be made or joined."""

    code = "network_failed"
    retryable = True
    close = 4503


# The next three have no code of their own: a client gets `network_failed`; only the server tells them apart.
class NetworkGone(NetworkFailed):
    """The network does not exist any more."""


class NetworkBusy(NetworkFailed):
    """The network has members, and cannot be removed."""


class AddressesTaken(NetworkFailed):
    """Another network of the engine has such addresses."""


class FilesFailed(EngineError):
    """The files could not be written to or read from the workspace."""

    code = "files_failed"
