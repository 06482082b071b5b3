# SPDX-License-Identifier: GPL-2.0
"""The lists of cases, and the words in which they fail."""

CASES = []
EARLY = []
COUNTED = []
TWO_CPUS = []
PLANTED = []
REALTIME = []

# Of the usual cases those that each kernel passes by each way of attaching: together they pass every
# mechanism once.
CORE = [
    "each_of_200_packets_of_a_guest_is_reported_once_in_json_and_in_text",
    "each_of_200_packets_to_a_guest_is_reported_once",
    "the_same_traffic_gives_the_same_records_on_every_kernel",
    "a_guest_without_vhost_starts_in_tun_get_user",
    "from_vm_to_vm_is_one_record_from_tap_to_tap",
    "packets_of_any_length_that_a_nic_received_have_their_flow",
    "through_a_tunnel_over_the_nic_itself_the_inner_packet_is_measured",
    "fragments_that_conntrack_joins_are_merged_and_the_last_to_come_goes_on",
    "packets_that_ovs_drops_are_dropped",
    "packets_that_a_qdisc_drops_are_dropped",
    "every_kind_of_packet_is_found_again_after_its_upcall",
    "a_flood_and_a_multicast_are_one_record_with_all_their_exits",
    "a_super_frame_is_one_record_that_ends_with_its_last_segment",
    "stack_shows_who_called_each_stage",
    "packets_of_a_guest_have_the_stages_of_its_linux_bridge",
    "packets_to_a_guest_have_the_stages_of_its_linux_bridge",
    "what_a_linux_bridge_floods_is_one_record_with_all_its_exits",
    "a_group_that_a_linux_bridge_knows_gets_its_packets_and_nobody_else_does",
]

# Those of what kernels differ in, which each kernel passes once: they look at every way themselves, or
# need no traffic.
CORE_ONCE = [
    "a_trace_attaches_as_check_has_said",
    "each_hook_is_as_kallsyms_and_btf_have_it",
    "words_that_this_kernel_lacks_are_named",
]


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


def realtime_case(function):
    """A case on a kernel with PREEMPT_RT, and nothing set up."""
    REALTIME.append(function)
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
