# SPDX-License-Identifier: GPL-2.0
"""Which VM a packet is of: VMs that come and go, several taps and queues, taps that are passed on."""
import collections
import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import time

import frames
import lab
import records
import vmlat
from case import Failure, case, ensure, equal
from cases_middle import wait_for_words
from cases_outcome import check_outcomes
from lab import peer, tap9, web1, web2

tap8 = lab.Tap("tap8", 8)
web3 = lab.Guest("web3", "vnet2", 4)
STANDIN = os.path.join(os.path.dirname(__file__), "standin.py")


class StandIn:
    """A process that has taps open and is named as QEMU names a VM."""

    def __init__(self, name, *taps):
        self.process = subprocess.Popen(
            [sys.executable, STANDIN, "-name", f"guest={name},debug-threads=on", *taps],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        equal(f"{name} says", self.process.stdout.readline(), "ready\n")

    def send(self, tap, sender, count, port, number=0):
        """`count` packets by the tap with this number in its list."""
        for n in range(count):
            frame = frames.udp(sender, peer, (number + n, port), bytes(8))
            print(tap, frame.hex(), file=self.process.stdin, flush=True)

    def end(self):
        self.process.stdin.close()
        equal("status of the stand-in", self.process.wait(30), 0)


@contextlib.contextmanager
def stand_in(name, *taps):
    one = StandIn(name, *taps)
    try:
        yield one
        one.end()
    finally:
        one.process.kill()
        one.process.wait()


def totals(trace):
    """{(VM, tap, direction): how many completed} of the statistics."""
    return {(one["vm"], one["vm_interface"], one["direction"]): one["count"]
            for one in trace.statistics[-1]["segments"] if one["total"]}


def names(trace, *fields):
    return collections.Counter(tuple(p[field] for field in fields) for p in trace.packets)


@case
def a_vm_that_starts_and_is_killed_is_traced_under_its_name():
    """It has two queues. One trace waits for it, the other one is of every VM."""
    port, count = lab.port(), 10
    with vmlat.traces(["--vm", "web3"], ["--dst-port", port]) as (named, every):
        wait_for_words(named, "warning", "web3 has a tap here", "vnet0 (web1)", "did you mean web")
        web3.start("--queues=2")
        wait_for_words(named, "vnet2: traced from now on")
        for sender, receiver in (web3, peer), (peer, web3), (web1, peer), (web3, web2):
            lab.deliver(sender, receiver, count, dst_port=port)
        os.kill(web3.qemu(), signal.SIGKILL)
        lab.wait_for("QEMU to end", lambda: not os.path.exists(f"/proc/{web3.qemu()}"))
        peer.send(web3, count, first_seq=count, dst_port=port)
        named.wait_lines(4 * count)
        lab.run(f"{lab.LAB}/guest", "kill", "web3")
        for trace in named, every:
            wait_for_words(trace, "vnet2: gone")
        lab.deliver(web1, peer, count, dst_port=port, first_seq=count)
    of_web3 = {("web3", "vnet2", "tx"): 2 * count, ("web3", "vnet2", "rx"): count,
               (None, None, "rx"): count}  # the last ones reached no tap
    equal("packets of web3", names(named, "vm", "vm_interface", "direction"), of_web3)
    equal("packets of all", names(every, "vm", "vm_interface", "direction"),
          {**of_web3, ("web1", "vnet0", "tx"): 2 * count})
    rows = {("web3", "vnet2", "tx"): 2 * count, ("web3", "vnet2", "rx"): count}
    equal("statistics of web3, which is gone", totals(named), rows)
    equal("statistics of all", totals(every), {**rows, ("web1", "vnet0", "tx"): 2 * count})
    # what web1 sends may be for web3, until it is seen to leave by eth0
    check_outcomes(named, started=6 * count, completed=3 * count, dropped=count,
                   diverted=2 * count)
    check_outcomes(every, started=6 * count, completed=5 * count, dropped=count)


@case
def two_taps_and_the_queues_of_one_are_one_vm():
    port, count = lab.port(), 5
    with tap8.added(), tap9.added("multi_queue"), \
            stand_in("db1", "tap8", "tap9:mq", "tap9:mq") as vm:
        lab.warm(web1, peer, dst_port=port)
        words = ["-d", "tx", "--vm", "db1", *vmlat.QUICK]
        with vmlat.trace(*words) as trace, vmlat.trace(*words, "-S", text=True) as text:
            for tap, sender in enumerate((tap8, tap9, tap9)):
                vm.send(tap, sender, count, port, number=tap * count)
            trace.wait_lines(3 * count)
            lab.deliver(web1, peer, 1, dst_port=port)  # another VM's
    equal("rows", totals(trace), {("db1", "tap8", "tx"): count, ("db1", "tap9", "tx"): 2 * count})
    equal("rows of the text: the VM's alone", re.findall(r"^(\w+) +TX +(\d+) ", text.text(), re.M),
          [("db1", str(3 * count))])
    equal("packets", names(trace, "vm", "vm_interface"),
          {("db1", "tap8"): count, ("db1", "tap9"): 2 * count})
    check_outcomes(trace, started=3 * count, completed=3 * count)


@case
def a_vm_whose_name_is_known_late_has_one_row_with_all_its_packets():
    port, count = lab.port(), 5
    with tap9.added():
        with vmlat.trace("-d", "tx", "-i", "tap9", "-S", "--interval", 0.3, *vmlat.QUICK) as trace:
            with frames.end_of("tap9") as device:
                for number in range(count):
                    os.write(device, frames.udp(tap9, peer, (number, port), bytes(8)))
            lab.wait_for("statistics of nobody's tap", lambda: '"vm":null' in trace.text())
            with stand_in("db1", "tap9") as vm:
                sent = send_until_told(vm, trace, "db1", port)
    first = next(one for one in trace.statistics if one["segments"])
    equal("whose the tap was at first", {one["vm"] for one in first["segments"]}, {None})
    equal("rows of the whole trace", totals(trace), {("db1", "tap9", "tx"): count + sent})


def send_until_told(vm, trace, name, port):
    """Until an interval's statistics have this name. How many it took."""
    for sent in range(1, 51):
        vm.send(0, tap9, 1, port, number=sent)
        time.sleep(0.3)
        if f'"vm":"{name}"' in trace.text():
            return sent
    raise Failure(f"no interval is {name}'s")


@case
def taps_and_vms_that_are_named_add_up():
    port = lab.port()
    with vmlat.trace("-d", "tx", "--vm", "web2", "-i", "vnet0", *vmlat.QUICK) as trace:
        for sender in web1, web2:
            lab.deliver(sender, peer, 3, dst_port=port)
    equal("packets", names(trace, "vm"), {("web1",): 3, ("web2",): 3})


@case
def a_program_that_is_no_vm_has_no_name():
    port = lab.port()
    with tap9.added():
        with vmlat.trace("-d", "tx", "-i", "tap9", *vmlat.QUICK) as trace:
            with frames.end_of("tap9") as device:
                os.write(device, frames.udp(tap9, peer, (1, port), bytes(8)))
                trace.wait_lines(1)
    equal("packets", names(trace, "vm", "vm_interface"), {(None, "tap9"): 1})


def send_until_named(vm, tap, trace, name, port):
    """Packet by packet, until a record has this name: it takes the kernel a while to say that a tap
    was opened. How many it took."""
    for sent in range(1, 51):
        vm.send(0, tap, 1, port)
        trace.wait_lines(sent)
        if f'"vm":"{name}"' in trace.text():
            return sent
        time.sleep(0.1)
    raise Failure(f"none of 50 packets is {name}'s")


@case
def a_tap_that_another_vm_opens_has_that_ones_name():
    port, later, count = lab.port(), lab.port(), 5
    with tap9.added():
        with stand_in("db1", "tap9") as vm:
            with vmlat.traces(["-d", "tx", "-i", "tap9", "--src-port", 0, *vmlat.QUICK],
                              ["-d", "tx", "-i", "tap9", "--dst-port", later, *vmlat.QUICK],
                              ["-d", "tx", "--vm", "db1", *vmlat.QUICK]) as traces:
                changing, after, named = traces
                vm.send(0, tap9, count, port, number=1)
                named.wait_lines(count)
                vm.end()
                with stand_in("db2", "tap9") as other:
                    sent = send_until_named(other, tap9, changing, "db2", port)
                    wait_for_words(named, "tap9: another VM's now")
                    other.send(0, tap9, count, later, number=1)
                    after.wait_lines(count)
    equal("packets, once it is known", names(after, "vm"), {("db2",): count})
    order = [p["vm"] for p in changing.packets]
    equal("names, one after the other", order, sorted(order, key=["db1", None, "db2"].index))
    check_outcomes(changing, started=sent, completed=sent)
    check_outcomes(after, started=count, completed=count)
    of_db1 = [p["flow"]["src_port"] for p in named.packets if p["flow"]["src_port"]]
    equal("of the named VM", sorted(of_db1), list(range(1, count + 1)))


@case
def what_a_tap_sent_before_its_vm_was_known_is_counted():
    port, count = lab.port(), 3
    with vmlat.trace("-d", "tx", "--vm", "db1", *vmlat.QUICK, odd=True) as trace:
        with tap8.added():
            with frames.end_of("tap8") as device:
                for number in range(count):
                    os.write(device, frames.udp(tap8, peer, (number, port), bytes(8)))
            with stand_in("db1", "tap8") as vm:
                wait_for_words(trace, f"tap8: traced from now on, but not the {count} packets")
                vm.send(0, tap8, count, port, number=count)
                trace.wait_lines(count)
    check_outcomes(trace, started=count, completed=count)
    equal("packets", names(trace, "vm"), {("db1",): count})
    # the first ones went up
    records.check_nothing_odd({**trace.end, "unstarted": 0})


# --- a tap's first packet ---

def write_at_once(*taps, count=1):
    """Makes taps and writes to each as soon as it is up: nobody had time to look at it."""
    with contextlib.ExitStack() as ends:
        for number, tap in enumerate(taps):
            device = ends.enter_context(frames.end_of(tap))
            frames.set_up(tap)
            for _ in range(count):
                os.write(device, frames.udp(tap9, peer, (number, 9), bytes(8)))


FATES = "completed,dropped,diverted,expired"


def check_first_packets(trace, taps, count=1):
    """In no switch, they go to the host's own stack."""
    equal("packets", names(trace, "vm_interface", "vm"), {(tap, None): count for tap in taps})
    equal("first stages", {tuple(s["hook"] for s in p["stages"]) for p in trace.packets},
          {("tun_get_user",)})
    equal("traffic", {tap: packets for (_, tap), (packets, _) in
                      records.traffic(trace.end).items()}, dict.fromkeys(taps, count))


@case
def a_new_tap_is_traced_from_its_first_packet():
    """With and without a name; one of another name is not. The one with a name was there before."""
    words = ["-d", "tx", "--outcome", FATES]
    with contextlib.ExitStack() as before:
        before.enter_context(tap8.added())
        with vmlat.traces(words, [*words, "-i", "tap8"], [*words, "-i", "vnet0"]) as traces:
            before.close()
            for trace in traces[:2]:
                wait_for_words(trace, "tap8: gone")
            with contextlib.ExitStack() as asleep:
                for trace in traces:
                    asleep.enter_context(lab.stopped(trace.process.pid))
                write_at_once("tap7", "tap8", count=3)
            for trace, count in zip(traces, (6, 3)):
                trace.wait_lines(count)
                wait_for_words(trace, "tap8: traced from its first packet on")
    every, named, other = traces
    check_first_packets(every, ["tap7", "tap8"], 3)
    check_first_packets(named, ["tap8"], 3)
    equal("of the others' trace", other.packets, [])
    wait_for_words(every, "tap7: traced from its first packet on")
    for trace in traces:
        ensure("another VM's" not in trace.errors(), f"no VM has these: {trace.errors()}")


@case
def a_tap_that_goes_before_anybody_looked_has_its_name():
    with vmlat.trace("-d", "tx", "--outcome", FATES) as trace:
        with lab.stopped(trace.process.pid):
            write_at_once("tap7")
        trace.wait_lines(1)
        wait_for_words(trace, "tap7: traced from its first packet on")
        wait_for_words(trace, "tap7: gone")
    check_first_packets(trace, ["tap7"])


@case
def more_new_taps_at_once_than_there_are_places_for_are_named_and_counted():
    taps = [f"tap1{number}" for number in range(6)]
    with vmlat.trace("-d", "tx", "--outcome", FATES) as trace, contextlib.ExitStack() as ends:
        devices = []
        with lab.stopped(trace.process.pid):
            for tap in taps:
                devices.append(ends.enter_context(frames.end_of(tap)))
                frames.set_up(tap)
                os.write(devices[-1], frames.udp(tap9, peer, (1, 9), bytes(8)))
        for tap in taps[:4]:
            wait_for_words(trace, f"{tap}: traced from its first packet on")
        for tap in taps[4:]:
            wait_for_words(trace, f"warning: {tap}: traced from now on, but not the 1 packet")
        for device in devices:
            os.write(device, frames.udp(tap9, peer, (2, 9), bytes(8)))
        trace.wait_lines(10)
    equal("packets", names(trace, "vm_interface"),
          {**{(tap,): 2 for tap in taps[:4]}, **{(tap,): 1 for tap in taps[4:]}})


@case
def the_first_packet_to_a_new_tap_ends_there():
    port = lab.port()
    with vmlat.trace("--dst-port", port) as trace:
        with lab.stopped(trace.process.pid):
            stack = contextlib.ExitStack()
            stack.enter_context(tap8.added())
            device = stack.enter_context(frames.end_of("tap8"))
            peer.send(tap8, 1, dst_port=port)
            ensure(select.select([device], [], [], 30)[0], "no packet came to tap8")
        with stack:
            trace.wait_lines(1)
    equal("packets", names(trace, "direction", "vm_interface", "outcome"),
          {("rx", "tap8", "completed"): 1})


@case
def without_the_privilege_to_look_it_says_that_vms_have_no_names():
    limit = ["setpriv", "--bounding-set=-sys_ptrace"]
    done = subprocess.run([*limit, vmlat.PROGRAM, "--vm", "web1"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=90, check=False)
    equal(f"status; it says {done.stderr}", done.returncode, 3)
    ensure("CAP_SYS_PTRACE" in done.stderr and "--vm-interface" in done.stderr, done.stderr)
    done = subprocess.run([*limit, vmlat.PROGRAM, "-t", "0.1", "-f", "json"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90,
                          check=False)
    equal(f"status; it says {done.stderr}", done.returncode, 0)
    ensure("warning: VMs have no names here" in done.stderr, done.stderr)
