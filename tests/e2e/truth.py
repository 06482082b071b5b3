# SPDX-License-Identifier: GPL-2.0
"""The truth about each packet of a stream, and whether the records say it.

A stream has a source port of its own. Its packets have a number in their last four bytes, which
vmlat never looks at. Who writes them to the tap takes the time before and after each; a packet
socket at eth0 sees each just before the driver does (dev_queue_xmit_nit). So each record's begin
has to be within the write of its packet, and its end between the departure of its packet and the
next one of the stream.
"""
import bisect
import collections
import concurrent.futures
import contextlib
import ctypes
import datetime
import functools
import multiprocessing
import os
import socket
import struct
import time

import frames
import sniffer
from case import Failure, ensure, equal

NUMBER = struct.Struct("!I")
SO_ATTACH_FILTER = 26  # asm-generic/socket.h
SOURCE_PORT = 14 + 20  # where it is in a frame without tags and IP options
ROOM = 256 << 20
CLOCKS_NS = 3000  # how far apart two readings of CLOCK_REALTIME may be, one of them computed

_barriers = []

Write = collections.namedtuple("Write", "before after")
Departure = collections.namedtuple("Departure", "at before")  # and the next one


def stream(frame, count):
    """`count` of the frame, which differ in their numbers alone."""
    return [frame[:-NUMBER.size] + NUMBER.pack(number) for number in range(count)]


def write_stream(tap, packets, cpu=None, flags=0, ready=None):
    """Writes them to a tap, when all are ready: [Write]."""
    writes = []
    if cpu is not None:
        os.sched_setaffinity(0, [cpu])
    with frames.end_of(tap, flags) as device:
        write, now = os.write, time.time_ns
        if ready:
            ready()
        for packet in packets:
            before = now()
            write(device, packet)
            writes.append(Write(before, now()))
    return writes


def _together(job):
    return write_stream(*job, ready=functools.partial(_barriers[-1].wait, 60))


def write_at_once(*jobs):
    """Each with the arguments of write_stream, in processes that begin together: [[Write]]."""
    processes = multiprocessing.get_context("fork")
    _barriers.append(processes.Barrier(len(jobs)))  # which they inherit
    with concurrent.futures.ProcessPoolExecutor(len(jobs), processes) as pool:
        return list(pool.map(_together, jobs))


def _only_from(port):
    """A filter of a packet socket (linux/filter.h): ldh, jeq, ret 65535, ret 0."""
    code = struct.pack("=" + 4 * "HBBI", 0x28, 0, 0, SOURCE_PORT, 0x15, 0, 1, port,
                       0x06, 0, 0, 65535, 0x06, 0, 0, 0)
    return ctypes.create_string_buffer(code)


def _departures(seen, port):
    wanted = struct.pack("!H", port)
    left = sorted((one.at, NUMBER.unpack(one.head[-NUMBER.size:])[0]) for one in seen
                  if one.leaves and one.head[SOURCE_PORT:SOURCE_PORT + 2] == wanted)
    nexts = [at for at, _ in left[1:]] + [float("inf")]
    found = {number: Departure(at, before) for (at, number), before in zip(left, nexts)}
    equal("packets that left, and their numbers", len(left), len(found))
    return found


@contextlib.contextmanager
def departures(port):
    """From now on: a function that says those of the stream, {number: Departure}."""
    code = _only_from(port)
    with sniffer.on("eth0") as (tracer,):
        tracer.socket.setsockopt(socket.SOL_SOCKET, sniffer.SO_RCVBUFFORCE, ROOM)
        tracer.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER,
                                 struct.pack("HP", 4, ctypes.addressof(code)))
        yield lambda: _departures(tracer.frames(), port)


# --- what the records say ---

@functools.lru_cache
def _second(text):
    """Of 2026-11-22T15:04:18, in nanoseconds."""
    return int(datetime.datetime.fromisoformat(text + "+00:00").timestamp()) * 1000000000


def begin(packet):
    """Nanoseconds of CLOCK_REALTIME."""
    second, _, fraction = packet["time"].partition(".")
    return _second(second) + int(fraction[:-1])


def within(low, value, high):
    return low - CLOCKS_NS <= value <= high + CLOCKS_NS


def identify(packets, writes, left):
    """Each record's number in the stream, by its begin; each has to have its packet's times."""
    starts = [write.before for write in writes]
    numbers, wrong = [], []
    for packet in packets:
        at = begin(packet)
        end, number = at + packet["total_ns"], bisect.bisect(starts, at + CLOCKS_NS) - 1
        if number < 0 or not within(writes[number].before, at, writes[number].after):
            wrong.append(f"a record begins at {at}, in no write; {writes[max(number, 0)]}")
        elif not within(left[number].at, end, left[number].before):
            wrong.append(f"packet {number} left {left[number]}, its record ends at {end}")
        numbers.append(number)
    equal("records with another's times", (len(wrong), wrong[:3]), (0, []))
    return numbers


def check_sees_a_mix_up(packets, writes, left):
    """Two records with each other's times are found."""
    first, second = packets[0], packets[len(packets) // 2]
    swapped = [{**first, "total_ns": second["total_ns"]}, {**second, "total_ns": first["total_ns"]}]
    try:
        identify(swapped, writes, left)
    except Failure:
        return
    raise Failure(f"nobody sees that these have each other's times: {swapped}")


def check_told_apart(packets, writes, left, unseen=0):
    """One record for each packet, with its times; at most so many have none."""
    equal("packets that left", len(left), len(writes))
    ensure(len(writes) - unseen <= len(packets), f"{len(packets)} records of {len(writes)} packets")
    equal("packets with a record", len(set(identify(packets, writes, left))), len(packets))
