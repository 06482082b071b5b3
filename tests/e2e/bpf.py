# SPDX-License-Identifier: GPL-2.0
"""What the kernel holds of BPF: numbers of programs, maps and links (bpf(2), *_GET_NEXT_ID)."""
import ctypes
import errno
import platform

NEXT_ID = {"program": 11, "map": 12, "link": 31}
SYSCALL = {"x86_64": 321, "aarch64": 280}[platform.machine()]
LIBC = ctypes.CDLL(None, use_errno=True)


def _next(command, number):
    attributes = (ctypes.c_uint32 * 32)(number)
    if LIBC.syscall(SYSCALL, command, attributes, ctypes.sizeof(attributes)) == 0:
        return attributes[1]
    if ctypes.get_errno() == errno.ENOENT:
        return None
    raise OSError(ctypes.get_errno(), "bpf: the objects of the kernel cannot be listed")


def _numbers(command):
    number = _next(command, 0)
    while number is not None:
        yield number
        number = _next(command, number)


def objects():
    """{("program", 17), ...}"""
    return {(kind, number) for kind, command in NEXT_ID.items() for number in _numbers(command)}
