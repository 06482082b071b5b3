# SPDX-License-Identifier: GPL-2.0
"""Runs of vmlat: started, ready, ended, and checked each time."""
import contextlib
import itertools
import os
import signal
import subprocess

import lab
import records
from case import Failure, equal

PROGRAM = os.environ.get("VMLAT", f"{lab.TOP}/build/vmlat")
DIRECTORY = "/run/vmlat-e2e"

# Ready in half the time. Not for RX, which comes by interrupts: a kprobe is skipped when another
# one runs on its CPU, and nothing counts that.
QUICK = ["--attach", "kprobe"]

ANY_WAY = []  # of attaching, while the suite forces none
_way_of_tx = []  # where neither suite nor case says one


FORCED = {"fentry": {"tracepoint", "fentry", "fexit"}, "kprobe": {"tracepoint", "kprobe", "kretprobe"}}


def check_attached(header):
    """A forced mode was followed."""
    if ANY_WAY:
        ways = {hook["attach"] for hook in header["hooks"]} - FORCED[ANY_WAY[1]]
        equal("other ways of attaching than the forced one", ways, set())


def may_skip(trace):
    """An interrupt's packets may pass hooks unseen: a kprobe is skipped while another one runs, be
    it for the packet that is just being sent."""
    return any(hook["attach"] == "kprobe" for hook in trace.header["hooks"])


def force(mode):
    """All traces attach in this way from now on; "auto": each as its case says; "tx-kprobe": the same,
    and what is of TX alone by kprobe where its case says nothing."""
    forced = mode in FORCED
    ANY_WAY[:] = ["--attach", mode] if forced else []
    QUICK[:] = [] if forced else ["--attach", "kprobe"]
    _way_of_tx[:] = QUICK if mode == "tx-kprobe" else []


def _way_of(words, as_it_is):
    """`as_it_is`: the case is about what a kernel has."""
    says = as_it_is or "tx" not in words or any(str(word).startswith("--attach") for word in words)
    return ANY_WAY or ([] if says else _way_of_tx)


runs = []  # of the current case, for its evidence
_kept = []  # files that other commands of it wrote
_numbers = itertools.count(1)


class Trace:
    """One run. After its end, if it is JSON: header, packets, statistics, end, compared (see
    records.Parsed)."""

    def __init__(self, words, text=False, form="json", status=0, odd=False, stdout=False,
                 deny="", prefix=()):
        form = "text" if text else form
        self.expected_status = status
        self.odd = odd
        self.form = form
        self.base = f"{DIRECTORY}/{next(_numbers)}"
        self.output = f"{self.base}.{form}"
        self.stdout = self.output if stdout else f"{self.base}.stdout"
        self.ready = f"{self.base}.ready"
        self.header = self.packets = self.statistics = self.end = self.compared = None
        self.command = [*prefix, PROGRAM, "-f", form, "--ready-file", self.ready,
                        *([] if stdout else ["-o", self.output]),
                        *_way_of(words, deny or prefix), *map(str, words)]
        with open(self.stdout, "wb") as out, open(f"{self.base}.err", "wb") as err:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=err, env={**os.environ, "VMLAT_DENY": deny})
        runs.append(self)

    def text(self):
        return _read(self.output)

    def errors(self):
        return _read(f"{self.base}.err")

    def wait_ready(self):
        lab.wait_for_file(self.ready, self.process)
        if not os.path.exists(self.ready):
            raise Failure(f"vmlat ended with {self.process.returncode} before it was ready")

    def ended(self):
        return self.process.poll() is not None

    def wait_lines(self, count, seconds=120):
        """Waits for that many packets' lines."""
        lab.wait_for(f"{count} packets in the output",
                     lambda: self.text().count('"type":"packet"') >= count, seconds)

    def finish(self, by=signal.SIGINT):
        """Ends it, unless `by` is None and it ends by itself; then everything is checked."""
        if by and not self.ended():
            self.process.send_signal(by)
        self.process.wait(120)
        equal("exit status", self.process.returncode, self.expected_status)
        if self.stdout != self.output:
            equal("what is on stdout", _read(self.stdout), "")
        if self.form == "json":
            self.header, self.packets, self.statistics, self.end, self.compared = records.parse(
                self.text())
            check_attached(self.header)
            if not self.odd:
                records.check_nothing_odd(self.end)

    def kill(self):
        if not self.ended():
            self.process.kill()
            self.process.wait()


def _read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


@contextlib.contextmanager
def traces(*all_words, **how):
    """Several at a time, all ready; ended and checked when the context ends."""
    with running(Trace(words, **how) for words in all_words) as started:
        yield started


@contextlib.contextmanager
def running(to_start):
    """The same of an iterable that starts them: one is ready before the next one starts, since what
    a kernel waits for to attach is that other tasks sleep, which one in its verifier does not."""
    started = []
    try:
        for one in to_start:
            started.append(one)
            one.wait_ready()
        yield started
        for one in started:
            if not one.ended():
                one.process.send_signal(signal.SIGINT)
        for one in started:
            one.finish()
    finally:
        for one in started:
            one.kill()


@contextlib.contextmanager
def trace(*words, **how):
    """One. how: text, form, status (expected), odd (losses and the like are expected), stdout, deny
    (hooks that it has to do without, see src/deny.h), prefix (of the command)."""
    with traces(words, **how) as (one,):
        yield one


def fails(*words, **how):
    """A run that ends by itself before it is ready: (status, stdout, stderr)."""
    done = subprocess.run([PROGRAM, *map(str, words)], stdin=subprocess.DEVNULL, text=True,
                          capture_output=True, timeout=90, check=False, **how)
    return done.returncode, done.stdout, done.stderr


def keep(line):
    """A JSON line of a command that is no trace is kept with what the traces wrote."""
    _kept.append(f"{DIRECTORY}/{next(_numbers)}.json")
    with open(_kept[-1], "w", encoding="utf-8") as file:
        file.write(line)


def files():
    """All that the current case's commands wrote."""
    for one in runs:
        yield from filter(os.path.exists, (one.output, f"{one.base}.err"))
    yield from _kept


def evidence():
    """Of the current case's runs: what was asked, what was said, how it ended."""
    for one in runs[:3]:
        yield "$ " + " ".join(one.command)
        yield from (f"  stderr: {line}" for line in one.errors().splitlines()[:5])
        lines = one.text().splitlines()
        yield f"  {len(lines)} lines of output, the first packet and the last line:"
        yield from (f"  {line[:1200]}" for line in lines[1:-1][:1] + lines[-1:])


def forget():
    """The case is over."""
    for one in runs:
        one.kill()
    runs.clear()
    _kept.clear()
