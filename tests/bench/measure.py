#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Inside the lab's VM, where one CPU's clock counts instructions (see `run`): what a tracer adds to
each packet. measure.py [--programs] [PART...] writes measured.json to $LAB_RESULTS."""
import argparse
import contextlib
import functools
import glob
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import time
import traceback

sys.dont_write_bytecode = True
TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
sys.path.insert(0, f"{TOP}/tests/e2e")

import bpftrace
import lab
from case import ensure
from lab import tap9

BUILD = f"{TOP}/build/bench"
VMLAT = os.environ.get("VMLAT", f"{TOP}/build/vmlat")
OUTPUT = "/run/bench.json"
COUNT, WARM = 12480, 960  # whole batches of every kind
MODES = ("fentry", "kprobe")

TAP, OTHER, NIC, HELD = "tap9", "tap8", "nic0", "nic1"
STRANGER = "10.9.9.9"  # an address that no packet has
HELD_MACHINE = 3  # its packets leave by HELD

# What a load sends, and the side of the host that its floor has.
TRAFFIC = {
    "tx": ["write", "--tap", TAP],
    "rx": ["receive", "--tap", TAP, "--nic", NIC, "--from=1", "--to=9"],
    "vhost": ["vhost", "--tap", TAP],
    "queue": ["write", "--tap", TAP, "--pause=3000000"],
    "host": ["loopback"],
    "freed": ["unix"],
}
HOLD = ["write", "--tap", TAP, "--to", HELD_MACHINE]
WAY = {"tx": "tx", "vhost": "tx", "queue": "tx", "rx": "rx", "host": "rx", "freed": "rx"}

# A summary is statistics alone; without that option, a threshold that nothing reaches.
THRESHOLD = ["-l", "1000000"]
SUMMARY = ["--summary"] if "--summary" in lab.run(VMLAT, "--help", timeout=None) else THRESHOLD


def ours(way, name):
    """vmlat's options for a row."""
    words = ["-d", way, "-p", NIC, "-i", OTHER if name == "other tap" else TAP]
    if name == "no match":
        words += ["-s" if way == "tx" else "-D", STRANGER]
    if name == "json":
        return [*words, "-f", "json", "-o", OUTPUT]
    return words + (THRESHOLD if name == "threshold" else SUMMARY)


# Of each traffic, what vmlat is asked to do.
ALL = ["summary", "no match", "other tap", "threshold", "json"]
ROWS = {"tx": ALL, "rx": ALL, "vhost": ["summary"], "queue": ["summary"], "host": ["summary"],
        "freed": ["summary"]}

run = functools.partial(lab.run, timeout=None)  # how fast this clock is, nobody knows
measured = {"kernel": platform.release(), "nothing": {}, "floor": {}, "rows": [], "told": []}


def tell(what, value, unit):
    measured["told"].append({"what": what, "value": value, "unit": unit})
    print(f"  {what}: {value} {unit}", flush=True)


# --- traffic ---

def load(words, count=COUNT, warm=WARM, rest=0):
    return json.loads(run(f"{BUILD}/load", *words, "--count", count, "--warm", warm, "--rest",
                          rest))


def per_packet(words, **how):
    result = load(words, **how)
    return result["busy_ns"] / result["count"]


# --- tracers ---

@contextlib.contextmanager
def process(words, ready):
    """Ends by SIGINT."""
    with open("/run/bench.out", "w+", encoding="utf-8") as out:
        running = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            lab.wait_for(f"{words[0]} to be ready",
                         lambda: ready() or running.poll() is not None, 3600)
            ensure(running.poll() is None, f"{words} ended: {open('/run/bench.out').read()}")
            yield running
            running.send_signal(signal.SIGINT)
            ensure(running.wait() == 0, f"{words}: status {running.returncode}")
        finally:
            running.kill()
            running.wait()


def attached(kind, way, mode):
    """Our own BPF programs: the floor, or the span."""
    return process([f"{BUILD}/attach", f"{BUILD}/{kind}-{way}-{mode}.o"],
                   lambda: "ready" in open("/run/bench.out").read())


@contextlib.contextmanager
def vmlat(words, mode="fentry"):
    ready = "/run/bench.ready"
    with contextlib.suppress(FileNotFoundError):
        os.remove(ready)
    with process([VMLAT, "-q", "--attach", mode, "--ready-file", ready, *words],
                 lambda: os.path.exists(ready)) as running:
        yield running


def reported():
    """Packets of a load in the output: a tap or a NIC may have had one of the host's own."""
    return int(run("grep", "-c", '"type":"packet".*"dst_port":5201', OUTPUT))


def programs():
    found = json.loads(run("bpftool", "-j", "prog", "show"))
    return {one["id"]: one for one in found if one.get("run_cnt")}


def show_programs(words):
    """Of each program: runs a packet, and instructions, those of this measuring included."""
    run("sysctl", "-qw", "kernel.bpf_stats_enabled=1")
    before = programs()
    count = load(words, warm=0)["count"]
    for number, one in programs().items():
        was = before.get(number, {"run_cnt": 0, "run_time_ns": 0})
        runs = one["run_cnt"] - was["run_cnt"]
        total = one["run_time_ns"] - was["run_time_ns"]
        if runs:
            print(f"      {one['name']:34} {runs / count:6.2f} runs {total / runs:8.1f} each"
                  f" {total / count:8.1f} a packet")
    run("sysctl", "-qw", "kernel.bpf_stats_enabled=0")
    sys.stdout.flush()


# --- rows ---

def add_row(traffic, name, mode, added, ground):
    measured["rows"].append({"traffic": traffic, "row": name, "mode": mode, "added": added,
                             "floor": ground})
    print(f"  {traffic}, {name}, {mode}: {added:.0f} = {added / ground:.2f} x {ground:.0f}",
          flush=True)


def measure_row(traffic, name, mode, base):
    words = TRAFFIC[traffic]
    with vmlat(ours(WAY[traffic], name), mode):
        if name != "json":
            return per_packet(words) - base
        # what is not written when the last packet is sent is written in the rest
        added = per_packet(words, rest=2_000_000) - base
        sent = COUNT + WARM + (words[0] == "receive")  # which sends one to begin with
        ensure(reported() == sent, f"{reported()} packets in the output, {sent} were sent")
        return added


def measure_traffic(traffic, with_programs):
    words = TRAFFIC[traffic]
    base = measured["nothing"][traffic] = per_packet(words)
    print(f"{traffic}: {base:.1f} instructions a packet with nothing attached", flush=True)
    for mode in MODES:
        with attached("floor", WAY[traffic], mode):
            ground = per_packet(words) - base
            if with_programs:
                show_programs(words)
        measured["floor"].setdefault(traffic, {})[mode] = ground
        print(f"  {traffic}, floor, {mode}: {ground:.0f}", flush=True)
        for name in ROWS[traffic]:
            add_row(traffic, name, mode, measure_row(traffic, name, mode, base), ground)
            if with_programs and name != "json":
                with vmlat(ours(WAY[traffic], name), mode):
                    show_programs(words)
    print(f"{traffic}: {per_packet(words):.1f} with nothing attached again", flush=True)


def queue(with_programs):
    """The NIC is slower than the tap: each packet waits, and is sent by a timer."""
    run("tc", "qdisc", "replace", "dev", NIC, "root", "handle", "1:", "tbf", "rate", "40mbit",
        "burst", "200", "limit", "1000000")
    run("tc", "qdisc", "replace", "dev", NIC, "parent", "1:", "fq_codel")
    measure_traffic("queue", with_programs)
    run("tc", "qdisc", "replace", "dev", NIC, "root", "fq_codel")


def span_variables():
    number, = (one["id"] for one in json.loads(run("bpftool", "-j", "map", "show"))
               if re.fullmatch(r"span.*\.bss", one.get("name", "")))
    dump = json.loads(run("bpftool", "-j", "map", "dump", "id", number))
    variables = {}
    for one in dump[0]["formatted"]["value"][".bss"]:
        variables.update(one)
    return variables


def inflation():
    """What the report says, over the same with programs at the first and the last stage only."""
    for way in "tx", "rx":
        for mode in MODES:
            with attached("span", way, mode):
                load(TRAFFIC[way])
                values = span_variables()
            with vmlat(ours(way, "json"), mode):
                load(TRAFFIC[way], rest=2_000_000)
            with open(OUTPUT, encoding="utf-8") as file:
                totals = [int(one) for one in re.findall(r'"total_ns":(\d+)', file.read())]
            add_row(way, "inflation", mode, statistics.median(totals),
                    values["total"] / values["count"])


def measure_bpftrace(script):
    with open("/run/bench.bt", "w", encoding="ascii") as file:
        file.write(script)
    words = [f"{BUILD}/load", *TRAFFIC["tx"], "--count", COUNT, "--warm", WARM]
    output = run("bpftrace", "-q", "-o", "/run/bench.out", "-c",
                 " ".join(map(str, words)), "/run/bench.bt")
    result = json.loads(output[output.index("{"):])
    return result["busy_ns"] / result["count"]


def against_bpftrace():
    base = per_packet(TRAFFIC["tx"])
    with open(f"/sys/class/net/{TAP}/ifindex", encoding="ascii") as file:
        ifindex = int(file.read())
    for mode in MODES:
        added = measure_row("tx", "summary", mode, base)
        add_row("tx", "bpftrace, four stages", mode,
                measure_bpftrace(bpftrace.four(mode)) - base, added)
        add_row("tx", "bpftrace, the same stages", mode,
                measure_bpftrace(bpftrace.all_stages(mode, ifindex)) - base, added)


# --- what else it costs ---

def all_maps():
    return json.loads(run("bpftool", "-j", "map", "show"))


def memory():
    """KiB of all maps."""
    return sum(int(one["bytes_memlock"]) for one in all_maps()) // 1024


def wait_for_the_last_maps():
    """Those of a trace that has ended go some time later."""
    lab.wait_for("its maps to go",
                 lambda: not any(one.get("name") == "flights" for one in all_maps()))


def resident(running):
    """KiB of the program while it runs. What it maps of BPF maps is in these."""
    with open(f"/proc/{running.pid}/smaps", encoding="ascii") as file:
        mappings = re.split(r"^(?=[0-9a-f]+-)", file.read(), flags=re.M)
    return sum(int(re.search(r"^Rss:\s+(\d+)", one, re.M).group(1)) for one in mappings
               if one and "bpf-map" not in one)


def taps_and_memory():
    """With 1, 10 and 100 taps of the switch, both ways."""
    names = [TAP, *(f"many{n}" for n in range(99))]
    for name in names[1:]:
        run("ip", "tuntap", "add", name, "mode", "tap", "vnet_hdr")
        run("ip", "link", "set", name, "up")
    base = per_packet(TRAFFIC["tx"])
    for count in 1, 10, 100:
        wait_for_the_last_maps()
        start, before = time.monotonic(), memory()
        with vmlat(["-p", NIC, "-i", ",".join(names[:count]), *SUMMARY]) as running:
            ready = time.monotonic() - start
            tell(f"TX, {count} tap{'s' * (count > 1)} traced both ways", round(per_packet(TRAFFIC["tx"]) - base),
                 "instructions a packet")
            if count == 10:
                tell("from start to ready", round(ready, 2), "s")
                tell("maps, 10 taps, 16 CPUs", memory() - before, "KiB")
                tell("the program, 10 taps", resident(running), "KiB")
                tell("the program at its most, while it starts, 10 taps", lab.kib_of(running, "VmHWM"), "KiB")
            start = time.monotonic()
        if count == 10:
            tell("from SIGINT to the end", round(time.monotonic() - start, 2), "s")
    for name in names[1:]:
        run("ip", "link", "del", name)


def idle():
    def second():
        return load(["nothing"], 0, 0, 2_000_000)["busy_ns"] / 2
    base = second()
    with vmlat(ours("tx", "summary")):
        time.sleep(30)  # taps are asked for once more 25.5 s after the start
        tell("a host without packets", round(second() - base), "instructions a second")


def in_flight():
    """So many packets wait in another NIC's queue while the usual ones pass."""
    base = per_packet(TRAFFIC["tx"])
    for count in 0, 64, 640, 9984:
        run("tc", "qdisc", "replace", "dev", HELD, "root", "netem", "delay", "250s", "limit", 20000)
        with vmlat(["-d", "tx", "-p", f"{NIC},{HELD}", "-i", TAP, "--timeout=900", *SUMMARY]):
            load(HOLD, count, 0)
            tell(f"TX, {count} other packets in flight",
                 round(per_packet(TRAFFIC["tx"]) - base), "instructions a packet")
            run("tc", "qdisc", "del", "dev", HELD, "root")


def burst():
    """100,000 packets, as fast as this CPU can, each reported."""
    for mode in MODES:
        with vmlat(ours("tx", "json"), mode):
            result = load(TRAFFIC["tx"], 99840, 0, 3_000_000)
        end = json.loads(run("tail", "-n", 1, OUTPUT))
        rate = round(1e9 * result["count"] / result["took_ns"])
        tell(f"burst of {result['count']}, {mode}, each as JSON", end["events"]["lost"],
             f"reports lost, at {rate:,} a second")


# --- the host ---

def add_nic(name, machine):
    run("ip", "link", "add", name, "type", "dummy")
    run("ip", "link", "set", name, "up")
    run("ovs-vsctl", "-t", "300", "add-port", "br0", name)  # which takes away what queue it had
    run("tc", "qdisc", "replace", "dev", name, "root", "fq_codel")
    run("ovs-ofctl", "add-flow", "br0",
        f"priority=20,dl_dst=52:54:00:00:01:0{machine},actions=output:{name}")


def check_clock():
    with open("/sys/devices/system/clocksource/clocksource0/current_clocksource",
              encoding="ascii") as file:
        ensure(file.read() == "tsc\n", "the clock is not the one that counts instructions")


def set_up():
    """Flows are in the datapath's table, and Open vSwitch's processes stand still."""
    lab.host_up()
    check_clock()
    run("modprobe", "-a", "dummy", "vhost_net")
    run("ip", "link", "set", "lo", "up")
    add_nic(NIC, 1)
    add_nic(HELD, HELD_MACHINE)
    lab.library("tap_add", TAP, tap9.mac)
    run("ip", "tuntap", "add", OTHER, "mode", "tap", "vnet_hdr")
    for words, port in ((TRAFFIC["tx"], NIC), (HOLD, HELD)):
        load(words, 64, 0)
        lab.in_table(f"in_port({TAP})", f"actions:{port}")
    load(TRAFFIC["rx"], 0, 0)
    stack = contextlib.ExitStack()
    for path in glob.glob("/run/openvswitch/*.pid"):
        with open(path, encoding="ascii") as file:
            stack.enter_context(lab.stopped(int(file.read())))
    ensure("fq_codel" in run("tc", "qdisc", "show", "dev", NIC), f"{NIC} has no queue like a real one's")
    return stack


PARTS = {"queue": queue, "inflation": inflation, "bpftrace": against_bpftrace,
         "taps": taps_and_memory, "idle": idle, "flights": in_flight, "burst": burst}


def measure_part(part, with_programs):
    if part == "queue":
        queue(with_programs)
    elif part in TRAFFIC:
        measure_traffic(part, with_programs)
    else:
        PARTS[part]()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", action="store_true")
    parser.add_argument("parts", nargs="*")
    words = parser.parse_args()
    failed = False
    with set_up():
        for part in words.parts or dict.fromkeys([*TRAFFIC, *PARTS]):
            try:
                measure_part(part, words.programs)
            except Exception:
                print(f"FAILED {part}: {traceback.format_exc()}", flush=True)
                failed = True
    with open(f"{os.environ['LAB_RESULTS']}/measured.json", "w", encoding="ascii") as file:
        json.dump(measured, file, indent=1)
    return failed


if __name__ == "__main__":
    sys.exit(main())
