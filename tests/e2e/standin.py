#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""standin.py -name guest=NAME TAP...: has taps open as QEMU has, TAP:mq a queue of one, and writes a
frame for each line on stdin: number of the tap, and the frame in hexadecimal."""
import contextlib
import os
import sys

sys.dont_write_bytecode = True

import frames


def main():
    with contextlib.ExitStack() as ends:
        taps = [word.partition(":") for word in sys.argv[3:]]
        devices = [ends.enter_context(frames.end_of(tap, frames.MULTI_QUEUE if queue else 0))
                   for tap, queue, _ in taps]
        print("ready", flush=True)
        for line in sys.stdin:
            number, frame = line.split()
            os.write(devices[int(number)], bytes.fromhex(frame))


if __name__ == "__main__":
    main()
