#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Inside the lab's VM: the cases of a group that need the same machine (see `job`), all of them or
those whose names contain one of the arguments.
suite.py [--list] [--group=NAME] [--share=N/M] [--attach=MODE,...] [PART...]"""
import argparse
import os
import shutil
import sys
import time
import traceback

sys.dont_write_bytecode = True

import bpf
import lab
import vmlat
from case import CASES, CORE, COUNTED, EARLY, PLANTED, TWO_CPUS, Failure

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


def check_nothing_left(before):
    try:
        lab.wait_for("", lambda: bpf.objects() <= before, 5)
    except Failure:
        raise Failure(f"left in the kernel: {sorted(bpf.objects() - before)}") from None


def keep_files(name):
    """What the case's runs wrote, where it outlives the VM."""
    directory = os.path.join(os.environ.get("LAB_RESULTS", "/tmp"), name)
    os.makedirs(directory, exist_ok=True)
    for one in vmlat.runs:
        for path in (one.output, f"{one.base}.err"):
            if os.path.exists(path):
                shutil.copy(path, directory)


def failed(name, error):
    why = str(error) if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
    where = traceback.extract_tb(error.__traceback__)[1:]
    print(f"FAILED {name}: {why[:3000]}")
    places = [f"{os.path.basename(f.filename)}:{f.lineno}" for f in where]
    print("    at " + ", ".join(places))
    for line in vmlat.evidence():
        print(f"    {line}")


def run_case(function, mode):
    name = function.__name__ if mode == "auto" else f"{function.__name__}.{mode}"
    start = time.monotonic()
    before = bpf.objects()
    good = True
    try:
        function()
        check_nothing_left(before)
    except Exception as error:
        failed(name, error)
        good = False
    keep_files(name)
    vmlat.forget()
    took = f"({time.monotonic() - start:.1f} s)"
    print(f"ok {name} {took}" if good else f"    {took}", flush=True)
    return good


def can_attach(mode):
    """Whether this kernel has this way for the functions of modules."""
    return mode != "fentry" or lab.has_module_btf()


class Group:
    """`early`: before `up` has made a host of the machine."""

    def __init__(self, cases, up, early=()):
        self.up = up
        self.early = list(early)
        self.all = self.early + cases

    def run(self, functions, modes):
        start = time.monotonic()
        results = [run_case(one, "auto") for one in functions if one in self.early]
        self.up()
        print(f"# the lab is up ({time.monotonic() - start:.1f} s)", flush=True)
        for mode in modes:
            if not can_attach(mode):
                print(f"# without BTF of its modules this kernel has no --attach={mode}")
                continue
            vmlat.force(mode)
            results += [run_case(one, mode) for one in functions if one not in self.early]
        print(f"# {time.monotonic() - start:.1f} s in all")
        return results


def named(names):
    by_name = {function.__name__: function for function in CASES}
    return [by_name[name] for name in names]


GROUPS = {"usual": Group(CASES, lab.up, EARLY), "core": Group(named(CORE), lab.up),
          "rest": Group([one for one in CASES if one.__name__ not in CORE], lab.up, EARLY),
          "two_cpus": Group(TWO_CPUS, lab.host_up), "counted": Group(COUNTED, lab.host_up),
          "planted": Group(PLANTED, lab.host_up)}


def chosen(group, parts, share):
    """Of the group's cases those that contain a part; of these every M-th from the N-th on."""
    functions = [function for function in group.all
                 if not parts or any(part in function.__name__ for part in parts)]
    number, of = map(int, share.split("/"))
    return functions[number - 1::of]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--group", choices=GROUPS)
    parser.add_argument("--share", default="1/1", metavar="N/M")
    parser.add_argument("--attach", default="auto", metavar="MODE,...")
    parser.add_argument("parts", nargs="*")
    words = parser.parse_args()
    if words.list:
        groups = [GROUPS[words.group]] if words.group else GROUPS.values()
        for function in dict.fromkeys(one for group in groups
                                      for one in chosen(group, words.parts, words.share)):
            print(function.__name__)
        return 0
    os.makedirs(vmlat.DIRECTORY, exist_ok=True)
    group = GROUPS[words.group or "usual"]
    results = group.run(chosen(group, words.parts, words.share), words.attach.split(","))
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed", flush=True)
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
