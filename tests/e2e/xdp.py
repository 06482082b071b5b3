# SPDX-License-Identifier: GPL-2.0
"""An XDP program of two instructions, loaded by hand: no compiler is needed."""
import contextlib
import ctypes
import os
import resource
import struct

import bpf
import lab

LOAD, PIN = 5, 6  # bpf(2)
XDP, XDP_DROP, XDP_PASS = 6, 1, 2
MOVE_TO_R0, EXIT = 0xb7, 0x95


def _command(number, format_, *values):
    attributes = ctypes.create_string_buffer(struct.pack(format_, *values), 128)
    result = bpf.LIBC.syscall(bpf.SYSCALL, number, attributes, len(attributes))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"bpf command {number}")
    return result


@contextlib.contextmanager
def _attached(device, verdict, how):
    """A program of this verdict, for each packet of the device."""
    unlimited = resource.RLIM_INFINITY, resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_MEMLOCK, unlimited)  # until 5.11 it counts
    code = ctypes.create_string_buffer(struct.pack("<BBhiBBhi", MOVE_TO_R0, 0, 0, verdict,
                                                   EXIT, 0, 0, 0))
    licence = ctypes.create_string_buffer(b"GPL")
    pinned = f"/sys/fs/bpf/xdp-{device}"
    path = ctypes.create_string_buffer(pinned.encode())
    program = _command(LOAD, "IIQQ", XDP, 2, ctypes.addressof(code), ctypes.addressof(licence))
    try:
        _command(PIN, "QI", ctypes.addressof(path), program)
    finally:
        os.close(program)
    try:
        lab.run("ip", "link", "set", "dev", device, how, "pinned", pinned)
        yield
    finally:
        lab.run("ip", "link", "set", "dev", device, how, "off")
        os.unlink(pinned)


def drops_all(device):
    """Native XDP drops each packet of the device, before there is an skb of it."""
    return _attached(device, XDP_DROP, "xdpdrv")


def passes_all(device):
    """Generic XDP has each skb of the device, which gets more headroom for that, and lets it pass."""
    return _attached(device, XDP_PASS, "xdpgeneric")
