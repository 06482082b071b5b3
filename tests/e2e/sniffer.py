# SPDX-License-Identifier: GPL-2.0
"""A packet socket on a device, as tcpdump opens one."""
import collections
import contextlib
import socket
import struct

ETH_P_ALL, PACKET_OUTGOING = 3, 4  # linux/if_ether.h, linux/if_packet.h
SO_RCVBUFFORCE, SO_TIMESTAMPNS = 33, 35  # asm-generic/socket.h
TIMESPEC = struct.Struct("@qq")
ROOM, HEAD = 64 << 20, 2048

# When it passed (CLOCK_REALTIME, ns), whether it left by the device, its length, its first bytes
Frame = collections.namedtuple("Frame", "at leaves length head")


class Sniffer:
    def __init__(self, device):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.bind((device, ETH_P_ALL))

    def _receive(self):
        head = bytearray(HEAD)
        try:
            length, control, _, address = self.socket.recvmsg_into([head], 128, socket.MSG_TRUNC)
        except BlockingIOError:
            return None
        seconds, nanoseconds = TIMESPEC.unpack(control[0][2][:TIMESPEC.size])
        return Frame(seconds * 1000000000 + nanoseconds, address[2] == PACKET_OUTGOING, length,
                     bytes(head[:length]))

    def frames(self):
        """What has passed since the last call, in order."""
        return list(iter(self._receive, None))


@contextlib.contextmanager
def on(*devices):
    """One for each device."""
    with contextlib.ExitStack() as stack:
        sniffers = [Sniffer(device) for device in devices]
        for one in sniffers:
            stack.callback(one.socket.close)
        yield sniffers
