"""What the operator is told of the server now."""

from __future__ import annotations

import mmap

from coderunner.web.admin.server import resident_bytes

MIB = 1024 * 1024


def test_memory_that_was_given_back_does_not_count():
    held = mmap.mmap(-1, 64 * MIB)
    held.write(b"x" * (64 * MIB))
    most = resident_bytes()
    held.close()
    assert 32 * MIB < most - resident_bytes() < most
