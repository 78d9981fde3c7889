"""Memory that the processes of one relay share, without a name in any file system."""

import fcntl
import mmap
import os
from typing import Final

_F_ADD_SEALS: Final = 1033
_F_SEAL_SEAL: Final = 0x0001
_F_SEAL_SHRINK: Final = 0x0002
_F_SEAL_GROW: Final = 0x0004
"""From ``linux/fcntl.h``; Python has names for them from 3.12 on."""


def create(size: int) -> int:
    """A descriptor of ``size`` bytes that are 0; their number can never be changed.

    A process that made the memory smaller would kill all others with SIGBUS.
    """
    descriptor = os.memfd_create("fastrelay", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    fcntl.fcntl(descriptor, _F_ADD_SEALS, _F_SEAL_SHRINK | _F_SEAL_GROW | _F_SEAL_SEAL)
    return descriptor


def attach(descriptor: int) -> memoryview:
    """The memory behind a descriptor of :func:`create`; the descriptor may be closed then."""
    return memoryview(mmap.mmap(descriptor, os.fstat(descriptor).st_size))


def file_with(content: bytes) -> int:
    """A descriptor of memory with ``content``, to be read from its beginning."""
    descriptor = os.memfd_create("fastrelay", os.MFD_CLOEXEC)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
