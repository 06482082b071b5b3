#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Inside the lab's VM: all cases, or those whose names contain one of the arguments."""
import os
import shutil
import sys
import time
import traceback

sys.dont_write_bytecode = True

import bpf
import lab
import vmlat
from case import CASES, EARLY, Failure

import cases_way  # in the order in which they run
import cases_filter
import cases_outcome
import cases_cli
import cases_tcp


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


def run_case(function):
    name = function.__name__
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


def chosen(functions):
    return [function for function in functions
            if not sys.argv[1:] or any(part in function.__name__ for part in sys.argv[1:])]


def main():
    if sys.argv[1:] == ["--list"]:
        print("\n".join(function.__name__ for function in EARLY + CASES))
        return 0
    os.makedirs(vmlat.DIRECTORY, exist_ok=True)
    start = time.monotonic()
    results = [run_case(function) for function in chosen(EARLY)]
    lab.up()
    print(f"# the lab is up ({time.monotonic() - start:.1f} s)", flush=True)
    results += [run_case(function) for function in chosen(CASES)]
    print(f"# {time.monotonic() - start:.1f} s in all")
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed", flush=True)
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
