"""Files of the workspace, in and out, as the session's own user.

A hostile program may have put symbolic links, pipes or devices anywhere below the workspace.  Every
component of a path is opened by itself and without following links; what is read must be a regular file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

WORKSPACE = "/workspace"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TEMPORARY = ".coderunner-incoming"
# Ours, or caches: not part of what a user calls the project.
HIDDEN = (".build", ".service", ".tmp", _TEMPORARY)


class FilesError(Exception):
    """A file could not be read or written.  ``code`` is a wire code, the text says what to do."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def _parts(path):
    parts = path.split("/")
    if not path or any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise FilesError("bad_path", f"{path!r} is not a path inside the workspace")
    return parts


def _explain(error, path):
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FilesError("files_failed", f"no room in the workspace for {path!r}; delete something first")
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return FilesError("bad_path", f"{path!r} leads through a link or a file, not a folder")
    if error.errno == errno.EISDIR:
        return FilesError("bad_path", f"{path!r} is a folder")
    if error.errno == errno.ENOENT:
        return FilesError("no_file", f"there is no file {path!r}")
    return FilesError("files_failed", f"{path!r}: {os.strerror(error.errno or errno.EIO)}")


@contextlib.contextmanager
def _folder_of(path, *, make):
    """(descriptor of the folder that holds ``path``, last name)."""
    parts = _parts(path)
    folder = os.open(WORKSPACE, _FOLDER)
    try:
        for part in parts[:-1]:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=folder)
            inner = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder, parts[-1]
    finally:
        os.close(folder)


def write(path, data):
    """Write a whole file, atomically: a reader sees the old or the new one."""
    try:
        with _folder_of(path, make=True) as (folder, name):
            _write_in(folder, name, data)
    except OSError as error:
        raise _explain(error, path) from None


def _write_in(folder, name, data):
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_TEMPORARY, dir_fd=folder)
    target = os.open(_TEMPORARY, flags, 0o644, dir_fd=folder)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(target, view) :]
        finally:
            os.close(target)
        # A program's own permissions (an executable script) outlive an edit.
        with contextlib.suppress(FileNotFoundError):
            old = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISREG(old.st_mode):
                os.chmod(_TEMPORARY, stat.S_IMODE(old.st_mode) & 0o777 | 0o600, dir_fd=folder)
        os.rename(_TEMPORARY, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(_TEMPORARY, dir_fd=folder)
        raise


def read(path, offset, most):
    """(bytes, size of the file)."""
    try:
        with _folder_of(path, make=False) as (folder, name):
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            source = os.open(name, flags, dir_fd=folder)
            try:
                status = os.fstat(source)
                if not stat.S_ISREG(status.st_mode):
                    raise FilesError("bad_path", f"{path!r} is not a regular file")
                return os.pread(source, most, offset), status.st_size
            finally:
                os.close(source)
    except OSError as error:
        raise _explain(error, path) from None


def listing(most):
    """([{path, size, mtime_ms, folder}], whether there are more), sorted by path."""
    found = []
    for root, folders, names in os.walk(WORKSPACE, followlinks=False):
        folders[:] = sorted(name for name in folders if name not in HIDDEN)
        for name in sorted(folders + names):
            if name in HIDDEN:
                continue
            whole = os.path.join(root, name)
            try:
                status = os.lstat(whole)
                text = os.path.relpath(whole, WORKSPACE)
                text.encode()
            except (OSError, UnicodeEncodeError):
                continue
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                continue
            if len(found) == most:
                return found, True
            found.append(
                {
                    "path": text,
                    "size": status.st_size,
                    "mtime_ms": int(status.st_mtime * 1000),
                    "folder": stat.S_ISDIR(status.st_mode),
                }
            )
    return found, False
