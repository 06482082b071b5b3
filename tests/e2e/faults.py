# SPDX-License-Identifier: GPL-2.0
"""System calls that wait for memory, amid what they do, until somebody gives it (userfaultfd(2))."""
import ctypes
import fcntl
import mmap
import os
import select
import struct
import threading

from case import ensure, equal

USERFAULTFD = 323  # the system call, of x86-64
UFFD_API, UFFDIO_API, UFFDIO_REGISTER, UFFDIO_COPY = 0xaa, 0xc018aa3f, 0xc020aa00, 0xc028aa03
MISSING, MESSAGE_BYTES = 1, 32

_libc = ctypes.CDLL(None, use_errno=True)


def _move(faults, thread, cpu, address, content):
    """The thread waits for the page at that address: it gets it, and goes on on that CPU."""
    ensure(select.select([faults], [], [], 60)[0], "nobody waits for the page")
    os.read(faults, MESSAGE_BYTES)
    os.sched_setaffinity(thread, [cpu])
    fcntl.ioctl(faults, UFFDIO_COPY, struct.pack("QQQQq", address, ctypes.addressof(content), len(content), 0, 0))


def write_across(device, data, cpu):
    """A write that begins where this thread is, and goes on on another CPU, where the thread stays."""
    with mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        place = ctypes.c_char.from_buffer(page)
        address = ctypes.addressof(place)
        faults = _libc.syscall(USERFAULTFD, os.O_CLOEXEC)
        ensure(faults >= 0, f"userfaultfd: {os.strerror(ctypes.get_errno())}")
        fcntl.ioctl(faults, UFFDIO_API, struct.pack("QQQ", UFFD_API, 0, 0))
        fcntl.ioctl(faults, UFFDIO_REGISTER, struct.pack("QQQQ", address, len(page), MISSING, 0))
        content = ctypes.create_string_buffer(data, len(page))
        mover = threading.Thread(target=_move, args=[faults, threading.get_native_id(), cpu, address, content])
        mover.start()
        written = _libc.write(device, ctypes.c_void_p(address), len(data))
        mover.join()
        os.close(faults)
        del place  # the page cannot be closed before
    equal("bytes written", written, len(data))
