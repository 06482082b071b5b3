# SPDX-License-Identifier: GPL-2.0
"""Frames of any content, and a tap's end that writes them."""
import contextlib
import fcntl
import ipaddress
import os
import socket
import struct

ETHERTYPE = {4: 0x0800, 6: 0x86dd}
TCP, UDP, FRAGMENT = 6, 17, 44
ACK = 0x10
SET_IFF = 0x400454CA  # linux/if_tun.h
SET_FLAGS, UP = 0x8914, 0x1  # linux/sockios.h, linux/if.h
TAP_WITHOUT_HEADER, MULTI_QUEUE = 0x1002, 0x0100


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def checksum(data):
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ethernet(sender, receiver, ethertype, packet):
    return mac(receiver.sink) + mac(sender.mac) + struct.pack("!H", ethertype) + packet


def ipv4(sender, receiver, protocol, payload):
    """Identification 0, as an atomic packet has it (RFC 6864)."""
    addresses = ipaddress.ip_address(sender.ip).packed + ipaddress.ip_address(receiver.ip).packed
    header = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(payload), 0, 0x4000, 64, protocol)
    header += struct.pack("!H", checksum(header + addresses)) + addresses
    return ethernet(sender, receiver, ETHERTYPE[4], header + payload)


def ipv6(sender, receiver, next_header, payload):
    header = struct.pack("!IHBB", 6 << 28, len(payload), next_header, 64)
    addresses = ipaddress.ip_address(sender.ip6).packed + ipaddress.ip_address(receiver.ip6).packed
    return ethernet(sender, receiver, ETHERTYPE[6], header + addresses + payload)


def udp(sender, receiver, ports, payload):
    """Without a checksum, so that packets of any payload have the same headers."""
    return ipv4(sender, receiver, UDP, struct.pack("!4H", *ports, 8 + len(payload), 0) + payload)


def tcp(sender, receiver, ports, payload=b""):
    """An acknowledgement, with data or without. Its checksum is not right: nobody looks."""
    return ipv4(sender, receiver, TCP, struct.pack("!HHIIBBHHH", *ports, 1, 1, 5 << 4, ACK, 65535,
                                                   0, 0) + payload)


@contextlib.contextmanager
def end_of(tap, flags=0):
    """What a VM's back end has: each write is one frame that the VM sends."""
    device = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(device, SET_IFF, struct.pack("16sH22x", tap.encode(),
                                                 TAP_WITHOUT_HEADER | flags))
        yield device
    finally:
        os.close(device)


def set_up(tap):
    """Up, by this process alone."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sH22x", tap.encode(), UP))
