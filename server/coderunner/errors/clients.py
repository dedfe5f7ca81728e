"""Errors for a client's mistakes, and for requests that are not allowed or cannot be met."""

from __future__ import annotations

from coderunner.errors.base import CodeRunnerError

# --- the client's bytes -------------------------------------------------------------------------------


class ProtocolError(CodeRunnerError):
    """The client broke a rule of the protocol."""


class BadJson(ProtocolError):
    """A text frame is not one JSON object."""

    code = "bad_json"


class BadFrame(ProtocolError):
    """A binary frame has a wrong header or length."""

    code = "bad_frame"


class BadMessage(ProtocolError):
    """A message lacks a field, or a field has a wrong type or value."""

    code = "bad_message"


class UnknownType(ProtocolError):
    """The `type` of a message is not known here."""

    code = "unknown_type"


class FrameTooLarge(ProtocolError):
    """A frame is larger than `hello.limits` allows."""

    code = "frame_too_large"
    close = 1009


class TooSlow(ProtocolError):
    """A message had begun, and its end did not come in time."""

    code = "too_slow"
    close = 1011
    retryable = True


class NoFirstMessage(ProtocolError):
    """Neither `open` nor `attach` came in time."""

    code = "no_first_message"
    close = 4408


class UnexpectedMessage(ProtocolError):
    """The message is not allowed in this state of the connection."""

    code = "unexpected_message"


class InputGap(ProtocolError):
    """Input skipped bytes; send again from `expected`."""

    code = "input_gap"
    retryable = True


class InputOverflow(ProtocolError):
    """Input went beyond the window; what exceeded it was dropped; send again from `expected`."""

    code = "input_overflow"
    retryable = True


class AckAhead(ProtocolError):
    """An `ack` lies above what was sent; it was ignored."""

    code = "ack_ahead"


class NotControl(ProtocolError):
    """Only the `control` attachment may do this."""

    code = "not_control"


class NoChannel(ProtocolError):
    """The session has no such channel."""

    code = "no_channel"


class ChannelUsed(ProtocolError):
    """The channel has ended and its record is gone; choose a number that this session has not used."""

    code = "channel_used"


class ChannelLimit(ProtocolError):
    """The session has as many live channels as it may have."""

    code = "channel_limit"
    retryable = True


class ChannelsBusy(ProtocolError):
    """Ended channels hold all the room for kept output; acknowledge their `exit` first."""

    code = "channels_busy"
    retryable = True


class Unsupported(ProtocolError):
    """The protocol knows this, but this server does not offer it."""

    code = "unsupported"


# --- what was asked for -------------------------------------------------------------------------------


class RequestError(CodeRunnerError):
    """A well-formed request for something that cannot be had."""


class UnknownLanguage(RequestError):
    """The server has no language of this name."""

    code = "unknown_language"


class BadPath(RequestError):
    """A file's path is not a plain relative path, or it collides with another."""

    code = "bad_path"


class FileTooLarge(RequestError):
    """A file is larger than the server takes."""

    code = "file_too_large"


class TooManyFiles(RequestError):
    """There are more files than the server takes."""

    code = "too_many_files"


class MemberTaken(RequestError):
    """The group has a member of this name, or the name means something else in every container."""

    code = "member_taken"


class NoFile(RequestError):
    """There is no file or folder of this path in the workspace."""

    code = "no_file"


class FileExists(RequestError):
    """There is something of this name already; nothing was replaced."""

    code = "file_exists"


class WorkspaceFull(RequestError):
    """The workspace has no room left, in bytes or in files; delete something first."""

    code = "workspace_full"


class BadArchive(RequestError):
    """An archive cannot be read, or unpacks to more than the server takes; nothing of it was written."""

    code = "bad_archive"


class FilesBusy(RequestError):
    """The session has as many requests for its files under way as it may have."""

    code = "files_busy"
    retryable = True


class BodyTooLarge(RequestError):
    """The body of a request over HTTP is larger than the server takes."""

    code = "body_too_large"


class BadMedia(RequestError):
    """The body of a request over HTTP is not of the media type that this address takes."""

    code = "bad_media"


class NoAddress(RequestError):
    """A request over HTTP for a path that nothing is at."""

    code = "no_address"


class BadMethod(RequestError):
    """A request over HTTP with a method that its path does not take; `Allow` has those that it takes."""

    code = "bad_method"


class WrongHost(RequestError):
    """A request over HTTP for a host name that is not this server's."""

    code = "wrong_host"


class KeyReused(RequestError):
    """An `Idempotency-Key` was used before, with another request."""

    code = "key_reused"


class AlreadyRunning(RequestError):
    """Work of the operator's that may run once at a time runs already."""

    code = "already_running"
    retryable = True


class BadLimit(RequestError):
    """An entry of `limits` is unknown here, not positive, below its floor or above its ceiling."""

    code = "bad_limit"


# --- who may ------------------------------------------------------------------------------------------


class AccessError(CodeRunnerError):
    """Who may do this, and how often."""


class Unauthenticated(AccessError):
    """A credential is needed, and none or a wrong one was given."""

    code = "unauthenticated"
    close = 4401


class IdentityUnavailable(AccessError):
    """The credential cannot be checked now, as its issuer or the store of keys does not answer."""

    code = "identity_unavailable"
    retryable = True
    close = 4503


class NotAllowed(AccessError):
    """This caller may not do this."""

    code = "not_allowed"
    close = 4403


# NoSession, NoRun and NoGroup do not tell their cases apart: that would show a guesser which ids exist.
class NoSession(AccessError):
    """No such session: it never was, is over, or is another's. All are answered alike."""

    code = "no_session"
    close = 4404


class NoRun(AccessError):
    """No such run: it never was, is forgotten, or is another's. All are answered alike."""

    code = "no_run"
    close = 4404


class NoGroup(AccessError):
    """No such group: it never was, is over, or the token is another's. All are answered alike."""

    code = "no_group"
    close = 4404


class Superseded(AccessError):
    """The same client attached again; this connection is the old one."""

    code = "superseded"
    close = 4409


class RateLimited(AccessError):
    """Too many requests from this address."""

    code = "rate_limited"
    retryable = True
    close = 4429


class TooManySessions(AccessError):
    """This address or principal has as many sessions, live and waiting, as it may have.

    `ending`: only because containers of others that have ended are still being removed."""

    code = "too_many_sessions"
    retryable = True
    close = 4429
    ending = False


class QuotaExceeded(AccessError):
    """A quota of this caller is used up; `retry_after_ms` says when it comes back."""

    code = "quota_exceeded"
    retryable = True


class TooManyAttachments(AccessError):
    """The session has as many attachments as it may have."""

    code = "too_many_attachments"
    retryable = True
    close = 4429
