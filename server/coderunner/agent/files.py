"""Reads and writes files of the workspace, as the session's user.

A hostile program may have put symbolic links, pipes or devices anywhere below the workspace.  Therefore each
component of a path is opened by itself, without following links, and only regular files are read.
"""

from __future__ import annotations

import errno
import os
import stat
import zlib

from . import kernel, owner
from .lean import contextmanager, suppress

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

WORKSPACE = "/workspace"
# O_EXCL and O_NOFOLLOW: a file or link that a program has put there is never written to.
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TEMPORARY = ".coderunner-incoming"
# Folders of the agent, and caches: not a part of the user's project.
_HIDDEN = (".build", ".service", ".tmp")
MAX_UPLOADS = 16  # at one time
MAX_READS = 10  # of one piece that is being written meanwhile


class FilesError(Exception):
    """A file could not be read or written.  ``code``: of the protocol; the text says what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def hidden(name: str) -> bool:
    """Whether a name at the top of the workspace is one of the agent's own."""
    return name in _HIDDEN or name.startswith(_TEMPORARY)


def temporary() -> str:
    """A random name, which no program can have used."""
    return f"{_TEMPORARY}-{os.urandom(8).hex()}"


def _parts(path: str) -> list[str]:
    """The components of a path; raises FilesError for one that leads elsewhere."""
    parts = path.split("/")
    if not path or any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise FilesError("bad_path", f"{path!r} is not a path inside the workspace")
    return parts


def explain(error: OSError, path: str) -> FilesError:
    """The FilesError for a system error at ``path``."""
    number = error.errno
    if number in (errno.ENOSPC, errno.EDQUOT):
        return FilesError("workspace_full", f"no room in the workspace for {path!r}; delete something first")
    if number in (errno.ELOOP, errno.ENOTDIR):
        return FilesError("bad_path", f"{path!r} leads through a link or a file, not a folder")
    if number == errno.EISDIR:
        return FilesError("bad_path", f"{path!r} is a folder")
    if number == errno.ENAMETOOLONG:
        return FilesError("bad_path", f"a name in {path!r} is too long")
    if number in (errno.EEXIST, errno.ENOTEMPTY):
        return FilesError("file_exists", f"there is something named {path!r} already")
    if number == errno.ENOENT:
        return FilesError("no_file", f"there is no file {path!r}")
    if number in (errno.EACCES, errno.EPERM):
        return FilesError("files_failed", f"the permissions of {path!r} do not allow it; change them first")
    return FilesError("files_failed", f"{path!r}: {os.strerror(number or errno.EIO)}")


@contextmanager
def folder_of(path: str, *, change: bool = False, make: bool = False) -> Iterator[tuple[int, str]]:
    """(descriptor of the folder that contains ``path``, last component), open within the block.

    ``change``: with permission to change the folder.  ``make``: missing folders are created as well.
    An OSError of the block is raised as FilesError.
    """
    parts = _parts(path)
    needed = owner.CHANGE if change or make else owner.LOOK
    entered = []  # (descriptor, permissions to restore or None)
    at = WORKSPACE
    try:
        entered.append(owner.enter(WORKSPACE, needed))
        for number, part in enumerate(parts[:-1], 1):
            # Relative to the folder before, which stays open: replacing a folder of the path meanwhile has no
            # effect.
            at = "/".join(parts[:number])
            folder = entered[-1][0]
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=folder)
            entered.append(owner.enter(part, needed, folder))
        at = path
        yield entered[-1][0], parts[-1]
    except OSError as error:
        # An error of permissions is about one folder; any other is reported with the whole path.
        raise explain(error, at if error.errno in (errno.EACCES, errno.EPERM) else path) from None
    finally:
        for folder, before in reversed(entered):
            # Widened permissions are kept where something was changed, and undone after reading.
            if needed == owner.LOOK:
                owner.restore(folder, before)
            os.close(folder)


class Upload:
    """A file that is written under a temporary name until ``finish`` renames it, atomically.

    Its folder is kept open: whatever a program does to the path meanwhile, the file stays in the folder that
    the path named at the beginning.  ``size``: bytes written.  Raises FilesError.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.size = 0
        self._temporary = temporary()  # "" after the rename
        self._folder = self._target = -1
        with folder_of(path, make=True) as (folder, self._name):
            self._target = os.open(self._temporary, _NEW, 0o644, dir_fd=folder)
            # `folder_of` closes its own descriptor.
            self._folder = os.dup(folder)

    def write(self, data: bytes) -> None:
        """Appends to the file.  Raises FilesError, such as for a full workspace."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._target, view) :]
        except OSError as error:
            raise explain(error, self.path) from None
        self.size += len(data)

    def finish(self, *, executable: bool = False) -> os.stat_result:
        """Gives the file its name, in place of an old one, and closes it.

        Returns its status.  Raises FilesError."""
        try:
            # The permissions of the old file are kept, so that an executable script stays one.
            mode = 0o755 if executable else 0o644
            with suppress(FileNotFoundError):
                old = os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)
                if stat.S_ISREG(old.st_mode):
                    # Always readable and writable for its owner, or the next run could not read it.
                    mode |= stat.S_IMODE(old.st_mode) & 0o777 | 0o600
            os.fchmod(self._target, mode)
            os.rename(self._temporary, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            self._temporary = ""
            return os.fstat(self._target)
        except OSError as error:
            raise explain(error, self.path) from None
        finally:
            self.close()

    def close(self) -> None:
        """Closes the file; without ``finish`` it is removed."""
        if self._folder >= 0 and self._temporary:
            with suppress(OSError):
                os.unlink(self._temporary, dir_fd=self._folder)
        for descriptor in (self._target, self._folder):
            if descriptor >= 0:
                os.close(descriptor)
        self._folder = self._target = -1


class Uploads:
    """Uploads in progress, by the server's numbers for them."""

    def __init__(self) -> None:
        self._open: dict[Any, Upload] = {}

    def put(
        self, number: Any, path: str, offset: int, data: bytes, *, last: bool, executable: bool
    ) -> os.stat_result | None:
        """Writes a piece; returns the status of the file after the ``last`` one, else None.

        ``offset``: of the piece in the file; 0 begins an upload.  Raises FilesError, which drops the
        upload."""
        upload = self._open.get(number)
        if upload is None:
            if offset:
                # It was dropped, by an error or because another server attached.
                raise FilesError("files_failed", "the upload was interrupted; begin it again")
            if len(self._open) >= MAX_UPLOADS:
                raise FilesError("files_busy", f"{MAX_UPLOADS} uploads are under way; try again")
            upload = self._open[number] = Upload(path)
        try:
            if offset != upload.size or path != upload.path:
                raise FilesError("files_failed", "the upload skipped a piece; begin it again")
            upload.write(data)
            if last:
                return upload.finish(executable=executable)
        except FilesError:
            self.drop(number)
            raise
        finally:
            if last:
                self.drop(number)
        return None

    def drop(self, number: Any) -> None:
        """Drops an upload, if there is one of this number."""
        upload = self._open.pop(number, None)
        if upload is not None:
            upload.close()

    def clear(self) -> None:
        """Drops all of them: their server is gone."""
        for number in list(self._open):
            self.drop(number)


def write(path: str, data: bytes) -> os.stat_result:
    """Writes a whole file, atomically: a reader sees the old one or the new one.

    Returns its status.  Raises FilesError."""
    upload = Upload(path)
    try:
        upload.write(data)
        return upload.finish()
    finally:
        upload.close()


def opened(path: str) -> tuple[int, os.stat_result]:
    """(descriptor, status) of a regular file, open for reading.  Raises FilesError."""
    with folder_of(path) as (folder, name):
        # A pipe or device is opened without blocking (owner.FILE), and then refused.
        source = owner.read(name, folder)
        status = os.fstat(source)
        if stat.S_ISREG(status.st_mode):
            return source, status
        os.close(source)
        what = "is a folder" if stat.S_ISDIR(status.st_mode) else "is not a regular file"
        raise FilesError("bad_path", f"{path!r} {what}")


def make_readable(path: str) -> None:
    """Gives the owner permission to read a file, if it exists and that is possible."""
    with suppress(FilesError), folder_of(path, change=True) as (folder, name):
        os.close(owner.read(name, folder, keep=False))


def read(path: str, offset: int, limit: int) -> tuple[bytes, os.stat_result]:
    """(at most ``limit`` bytes from ``offset`` on, status of the file).  Raises FilesError.

    A read of the kernel is not atomic: it may see half of a concurrent write.  So it is repeated until two in
    a row give the same bytes."""
    source, status = opened(path)
    try:
        data = os.pread(source, limit, offset)
        for _ in range(MAX_READS):
            again = os.pread(source, limit, offset)
            if again.startswith(data):  # or more, if the file has grown
                return data, status
            status, data = os.fstat(source), again
        raise FilesError("files_failed", f"{path!r} is being written without a pause; try again later")
    except OSError as error:
        raise explain(error, path) from None
    finally:
        os.close(source)


def check(path: str, offset: int, limit: int, crc: int) -> tuple[int, os.stat_result]:
    """(CRC-32, status of the file): of at most ``limit`` bytes from ``offset`` on, continued from ``crc``.

    Raises FilesError."""
    source, status = opened(path)
    try:
        return zlib.crc32(os.pread(source, limit, offset), crc), status
    except OSError as error:
        raise explain(error, path) from None
    finally:
        os.close(source)


def make_folder(path: str) -> None:
    """Creates a folder, with its parents.  An existing folder is no error.  Raises FilesError."""
    with folder_of(path, make=True) as (folder, name):
        try:
            os.mkdir(name, 0o755, dir_fd=folder)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                raise


def rename(path: str, to: str) -> os.stat_result:
    """Renames ``path`` to ``to``, which must not exist.  A link is renamed itself.  Creates the folders of
    ``to``.

    Returns the status of what was renamed.  Raises FilesError."""
    with folder_of(path, change=True) as (folder, name):
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        with folder_of(to, make=True) as (target, new):
            try:
                kernel.rename(folder, name, target, new)
            except OSError as error:
                if error.errno == errno.EINVAL:
                    raise FilesError("bad_path", f"{path!r} cannot be moved into itself") from None
                raise
        return status
