# SPDX-License-Identifier: GPL-2.0
"""The lists of cases, and the words in which they fail."""

CASES = []
EARLY = []
COUNTED = []
TWO_CPUS = []
PLANTED = []


class Failure(Exception):
    """A promise that was not kept."""


def case(function):
    """A case: run in the order of definition, after host-up, with the guests web1 and web2."""
    CASES.append(function)
    return function


def early_case(function):
    """A case that runs before host-up."""
    EARLY.append(function)
    return function


def counted_case(function):
    """A case on a machine whose clock counts instructions, so that times can be compared. It has
    no guests."""
    COUNTED.append(function)
    return function


def two_cpus_case(function):
    """A case on a machine with two CPUs, and without guests."""
    TWO_CPUS.append(function)
    return function


def fails_planted(function):
    """A case that a build which mixes packets up (tests/planted) has to fail. It needs no guests."""
    PLANTED.append(function)
    return function


def ensure(condition, why):
    if not condition:
        raise Failure(why)


def equal(what, got, wanted):
    if got != wanted:
        raise Failure(f"{what}: {got!r}, not {wanted!r}")
