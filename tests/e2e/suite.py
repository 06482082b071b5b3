#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Inside the lab's VM: the cases of a group that need the same machine (see `job`), all of them or
those whose names contain one of the arguments.
suite.py [--list] [--group=NAME] [--share=N/M] [--attach=MODE,...] [--turn=N,.../M] [--rest=MODE]
         [--for=SECONDS] [--rest-for=SECONDS] [--from=N] [PART...]
With --rest what is of other turns comes then, and the core by this way, as far as there is time.
Where a case leaves less of the lab than the next one needs, it ends with "# a new lab for run N": of
these runs those from that one on."""
import argparse
import os
import shutil
import signal
import sys
import time
import traceback
import typing

sys.dont_write_bytecode = True

import bpf
import lab
import vmlat
from case import CASES, CORE, CORE_ONCE, COUNTED, EARLY, PLANTED, REALTIME, TWO_CPUS, Failure

import cases_way  # in the order in which they run
import cases_paths
import cases_filter
import cases_outcome
import cases_drops
import cases_upcall
import cases_middle
import cases_cli
import cases_vms
import cases_csv
import cases_check
import cases_degrade
import cases_tcp
import cases_delays
import cases_copies
import cases_gso
import cases_identity
import cases_bridge
import cases_cpus
import cases_statistics
import cases_top
import cases_sample

CASE_SECONDS = 540  # for a case; the longest takes a quarter of it


def check_nothing_left(before):
    try:
        lab.wait_for("", lambda: bpf.objects() <= before, 5)
    except Failure:
        raise Failure(f"left in the kernel: {sorted(bpf.objects() - before)}") from None


def keep_files(name, ending=""):
    """What the case's commands wrote, where it outlives the VM."""
    directory = os.path.join(os.environ.get("LAB_RESULTS", "/tmp"), name)
    os.makedirs(directory, exist_ok=True)
    for path in vmlat.files():
        shutil.copy(path, os.path.join(directory, os.path.basename(path) + ending))


def tell(word, name, error):
    why = str(error) if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
    where = traceback.extract_tb(error.__traceback__)[1:]
    print(f"{word} {name}: {why[:3000]}")
    places = [f"{os.path.basename(f.filename)}:{f.lineno}" for f in where]
    print("    at " + ", ".join(places))
    for line in vmlat.evidence():
        print(f"    {line}")


def give_up(_number, _frame):
    raise Failure(f"it has not come to its end in {CASE_SECONDS} s")


def run_in_time(function):
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(CASE_SECONDS)
    try:
        function()
    finally:
        signal.alarm(0)


def run_case(function, mode, last):
    """Whether it passed; None: it did not, and this is not its last try."""
    name = f"{function.__name__}.{mode}" if mode in vmlat.FORCED else function.__name__
    start = time.monotonic()
    before = bpf.objects()
    good = True
    try:
        run_in_time(function)
        check_nothing_left(before)
    except Exception as error:
        good = False if last else None
        tell("FAILED" if last else "# unsteady:", name, error)
    keep_files(name, ".unsteady" if good is None else "")
    vmlat.forget()
    took = f"({time.monotonic() - start:.1f} s)"
    print(f"ok {name} {took}" if good else f"    {took}", flush=True)
    return good


def lab_is_whole():
    try:
        lab.check_whole()
        return True
    except Exception as error:
        tell("#", "the lab", error)
        return False


def can_attach(mode):
    """Whether this kernel has this way for the functions of modules."""
    return mode != "fentry" or lab.has_module_btf()


def those_of(turn, cases):
    """`turn`: N,.../M, of each M cases the N-th and so on."""
    numbers, of = turn.split("/")
    return [one for place, one in enumerate(cases)
            if place % int(of) + 1 in map(int, numbers.split(","))]


class Run(typing.NamedTuple):
    case: typing.Callable
    mode: str  # see vmlat.force
    until: float = float("inf")  # of time.monotonic(): it may begin
    left_out: str = ""  # what is said if it does not


class Group:
    """`early`: before `up` has made a host of the machine. `forced`: by each way that is asked for,
    while the others are by vmlat's own choice, but see `way`. `always`: whosever turn it is. `steady`: nothing
    here depends on how fast the machine is."""

    def __init__(self, cases, up, early=(), forced=None, always=(), steady=False):
        self.always = always
        self.steady = steady
        self.up = up
        self.early = list(early)
        self.cases = cases
        self.forced = cases if forced is None else forced

    def runs(self, modes, turn):
        """What is to be run, in this order, and by which way. Of the cases that are neither early nor
        forced nor always (or of all, where each is forced), those of these turns; the others' are on
        another kernel."""
        taken = those_of(turn, self.others())
        forced = those_of(turn, self.forced) if self.forced is self.cases else self.forced
        yield from ((one, "auto") for one in self.early)
        yield from ((one, mode) for mode in modes for one in forced)
        yield from ((one, "auto" if one in self.always else self.way(modes)) for one in self.cases
                    if one in taken or one in self.always)

    def rest(self, mode, modes, turn):
        """The same of what `runs` leaves to the other kernel; there the core is run by `mode`."""
        taken = those_of(turn, self.others())
        yield from ((one, mode) for one in self.forced)
        yield from ((one, self.way(modes)) for one in self.others() if one not in taken)

    def way(self, modes):
        """That of the others, where the forced ones have but this one: see vmlat.force."""
        return "tx-kprobe" if modes == ["kprobe"] else "auto"

    def others(self):
        return [one for one in self.cases if one not in self.forced and one not in self.always]

    def run(self, runs, first):
        """The results of the runs from `first` on."""
        start = time.monotonic()
        results = []
        up = False
        for number, run in enumerate(runs[first:], first):
            one, mode = run.case, run.mode
            if not up and one not in self.early:
                try:
                    self.up()
                except Failure as error:
                    tell("# unsteady:", "the lab", error)
                    print(f"# a new lab for run {number}")
                    break
                up = True
                print(f"# the lab is up ({time.monotonic() - start:.1f} s)", flush=True)
            if up and time.monotonic() > run.until:
                print(f"# {run.left_out}: {one.__name__}")
                continue
            if not can_attach(mode):
                print(f"# {one.__name__}: without BTF of its modules no --attach={mode}")
                continue
            vmlat.force(mode)
            good = run_case(one, mode, last=self.steady)
            if good is None and lab_is_whole():
                good = run_case(one, mode, last=True)
            if good is not None:
                results.append(good)
            if not good and not lab_is_whole():
                print(f"# a new lab for run {number if good is None else number + 1}")
                break
        print(f"# {time.monotonic() - start:.1f} s in all")
        return results


def named(names):
    by_name = {function.__name__: function for function in CASES}
    return [by_name[name] for name in names]


GROUPS = {"usual": Group(CASES, lab.up, EARLY, named(CORE), named(CORE_ONCE)),
          "core": Group(named(CORE_ONCE + CORE), lab.up, forced=named(CORE), always=named(CORE_ONCE)),
          "two_cpus": Group(TWO_CPUS, lab.host_up), "counted": Group(COUNTED, lab.host_up, steady=True),
          "planted": Group(PLANTED, lab.host_up, steady=True), "realtime": Group(REALTIME, lambda: None)}


def chosen(group, words):
    """Of the group's runs those of cases that contain a part; of these every M-th from the N-th on."""
    now = time.monotonic()
    modes = words.attach.split(",")
    runs = [Run(one, mode, now + words.seconds, "left out for want of time")
            for one, mode in group.runs(modes, words.turn)]
    if words.rest:
        runs += [Run(one, mode, now + words.rest_seconds, "left to make check-all")
                 for one, mode in group.rest(words.rest, modes, words.turn)]
    number, of = map(int, words.share.split("/"))
    return [run for run in runs
            if not words.parts or any(part in run.case.__name__ for part in words.parts)
            ][number - 1::of]


def parse(arguments=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--group", choices=GROUPS)
    parser.add_argument("--share", default="1/1", metavar="N/M")
    parser.add_argument("--turn", default="1/1", metavar="N,.../M")
    parser.add_argument("--attach", default="auto", metavar="MODE,...")
    parser.add_argument("--rest", metavar="MODE")
    parser.add_argument("--for", default=float("inf"), type=float, metavar="SECONDS", dest="seconds")
    parser.add_argument("--rest-for", default=float("inf"), type=float, metavar="SECONDS",
                        dest="rest_seconds")
    parser.add_argument("--from", default=0, type=int, metavar="N", dest="first")
    parser.add_argument("parts", nargs="*")
    return parser.parse_args(arguments)


def main():
    words = parse()
    if words.list:
        groups = [GROUPS[words.group]] if words.group else GROUPS.values()
        for name in dict.fromkeys(run.case.__name__ for group in groups
                                  for run in chosen(group, words)):
            print(name)
        return 0
    os.makedirs(vmlat.DIRECTORY, exist_ok=True)
    group = GROUPS[words.group or "usual"]
    results = group.run(chosen(group, words), words.first)
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed", flush=True)
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
