/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The packet in this CPU's call stack, as long as nobody asks for more of it than when it passed its
 * stages. Most packets begin and end here: then they have no record, are in no map, and cost least.
 * What else may happen to one (an upcall, a queue, a copy, a drop, a report) needs a record: it
 * leaves the lane for this CPU's slot first, and is a flight like any other from there on.
 *
 * A packet that left its call stack unseen is in the lane until this CPU receives another one (or user
 * space finds it there), and its skb may be another packet's by then. One of the host's own was never
 * received, which tells it (is_another); one that another CPU has received has another buffer: that of
 * what left unseen stays as it was (LANE_LEFT).
 */
#ifndef VMLAT_LANE_H
#define VMLAT_LANE_H

_Static_assert(__builtin_offsetof(struct vmlat_lane, visits) % 8 == 0 &&
		       __builtin_offsetof(struct vmlat_lane, stamp) ==
			       __builtin_offsetof(struct vmlat_lane, visits) + 8,
	       "begin_lane writes eight bytes at once");

static __always_inline bool in_lane(const struct cpu_state *cpu, const struct sk_buff *skb)
{
	return cpu->lane.key == key_of(skb);
}

/* The time is taken in the middle. False: there is no room for more. */
static __always_inline bool stamp(struct vmlat_lane *lane, enum vmlat_stage stage,
				  enum vmlat_hook hook)
{
	struct vmlat_stamp *next;
	__u64 n = lane->visits;

	barrier_var(n);
	if (n >= VMLAT_LANE_STAMPS)
		return false;
	barrier_var(n);
	next = &lane->stamp[n];
	next->ns = bpf_ktime_get_ns();
	next->stage = stage;
	next->hook = hook;
	lane->visits = n + 1;
	return true;
}

/* The same in a switch, where what a NIC received starts. */
static __always_inline bool stamp_in_switch(struct cpu_state *cpu, enum vmlat_stage stage,
					    enum vmlat_hook hook)
{
	if (!stamp(&cpu->lane, stage, hook))
		return false;
	if (cpu->lane.candidate) {
		cpu->lane.candidate = VMLAT_STARTED;
		cpu->count.started++;
	}
	return true;
}

/* --- out of it --- */

/* The skb in the lane is another packet's by now, and what was in the lane left it unseen. */
static __always_inline bool is_another(const struct vmlat_lane *lane)
{
	const struct sk_buff *skb = (const struct sk_buff *)lane->skb;

	return !BPF_CORE_READ(skb, skb_iif);
}

static __always_inline __u64 head_of(const struct vmlat_lane *lane)
{
	const struct sk_buff *skb = (const struct sk_buff *)lane->skb;

	return (__u64)BPF_CORE_READ(skb, head);
}

/* Without a branch, which the verifier would follow both ways: those that are not there, too. */
static __always_inline void copy_stamps(struct vmlat_flight *flight, const struct vmlat_lane *lane,
					__u16 cpu)
{
	__u64 last = lane->visits - 1;

	for (__u32 i = 0; i < VMLAT_LANE_STAMPS; i++) {
		struct vmlat_visit *visit = &flight->visit[i];

		visit->ns = lane->stamp[i].ns;
		visit->skb = lane->key;
		visit->stack = -1;
		visit->cpu = cpu;
		visit->stage = lane->stamp[i].stage;
		visit->hook = lane->stamp[i].hook;
	}
	flight->visits = lane->visits;
	flight->begin_ns = lane->stamp[0].ns;
	barrier_var(last);
	if (last >= VMLAT_LANE_STAMPS)
		return;
	barrier_var(last);
	flight->last_ns = lane->stamp[last].ns;
}

/* So many of its first visits were on the CPU that has parked it. */
GLOBAL int note_parking(__u32 slot, __u32 visits, __u32 cpu)
{
	struct vmlat_flight *flight = flight_at(slot);

	for (__u32 i = 0; flight && i < VMLAT_LANE_STAMPS && i < visits; i++)
		flight->visit[i].cpu = cpu;
	return 0;
}

/* A switch has it, and has not given it to any port. */
static __always_inline bool was_undirected(const struct vmlat_flight *flight)
{
	__u64 last = flight->visits - 1;
	__u8 stage;

	barrier_var(last);
	if (last >= VMLAT_LANE_STAMPS)
		return false;
	barrier_var(last);
	stage = flight->visit[last].stage;
	return stage == VMLAT_STAGE_DATAPATH ||
	       (stage == VMLAT_STAGE_OVS_IN && !is_attached(VMLAT_HOOK_OVS_DP_PROCESS_PACKET));
}

enum {
	COUNTS = __builtin_offsetof(struct vmlat_flight, visits_beyond),
	COUNTS_SIZE = __builtin_offsetof(struct vmlat_flight, exit) - COUNTS,
};
_Static_assert(COUNTS % 8 == 0 && COUNTS_SIZE % 8 == 0, "fill_flight writes eight bytes at once");

static __always_inline void fill_flight(struct vmlat_flight *flight, const struct vmlat_lane *lane,
					__u16 cpu)
{
	/* from here to the exits all begins with 0, its place too: VMLAT_FREE */
	__u64 *counts = (__u64 *)&flight->visits_beyond;

	flight->carrier = lane->key;
	flight->head = lane->head;
	flight->location = 0;
	flight->reason = 0;
	flight->pid = lane->pid;
	__builtin_memcpy(flight->comm, lane->comm, sizeof(flight->comm));
	flight->flow = lane->flow;
	flight->start = lane->start;
	flight->length = lane->length;
	flight->interface = lane->interface;
	flight->remarkable = 0;
	flight->batch = lane->batch;
	flight->segments = 1;
	flight->segments_lost = 0;
	flight->cpu = cpu;
	for (__u32 i = 0; i < COUNTS_SIZE / sizeof(*counts); i++)
		counts[i] = 0;
	flight->direction = lane->direction;
	flight->candidate = lane->candidate;
	flight->passed = lane->passed;
	copy_stamps(flight, lane, cpu);
	if (lane->parked_visits)
		note_parking(flight->slot, lane->parked_visits, lane->parked_cpu);
	flight->undirected = was_undirected(flight);
}

/* Into the flight of that slot: what this CPU has in its lane (VMLAT_LANE), or what is parked there. */
GLOBAL int fill_slot(__u32 slot, __u32 from)
{
	struct vmlat_parked *parked = bpf_map_lookup_elem(&parked_lanes, &from);
	struct vmlat_flight *flight = flight_at(slot);
	struct cpu_state *cpu = this_cpu();

	if (flight && from == VMLAT_LANE)
		fill_flight(flight, &cpu->lane, cpu->number);
	else if (flight && parked)
		fill_flight(flight, &parked->lane, from / VMLAT_PARKED_EACH);
	return 0;
}

/* In the driver of its device: the exit that it takes is known. */
static __always_inline void fill_exit(struct vmlat_flight *flight, const struct vmlat_lane *lane)
{
	struct vmlat_exit *exit = &flight->exit[0];

	if (lane->direction == VMLAT_RX && !lane->seen)
		flight->last_ns = lane->driving_ns;
	flight->exits = 1;
	exit->ns = flight->last_ns;
	exit->skb = lane->key;
	exit->device = lane->end;
	exit->closed = 0;
	exit->segments = 0;
	exit->segments_lost = 0;
	exit->interface = lane->end_interface == VMLAT_INTERFACE_NONE ? VMLAT_NO_INTERFACE
								      : lane->end_interface;
}

/* From here to net_dev_xmit only this CPU knows the flight (see drive in device.h). */
static __always_inline void drive_on(struct cpu_state *cpu, struct vmlat_flight *flight,
				     const struct vmlat_lane *lane)
{
	fill_exit(flight, lane);
	cpu->driving = ref_of(flight);
	cpu->driving_skb = lane->key;
	cpu->driving_role = ROLE_ORIGINAL;
	cpu->driving_exit = 0;
	cpu->driving_segments = 1;
	cpu->driving_seen = lane->seen;
	cpu->driving_interface = lane->end_interface;
	cpu->driving_ns = lane->driving_ns;
}

/* It cannot have a record. */
static __always_inline int evict_lane(struct cpu_state *cpu, enum lane_exit why)
{
	cpu->lane.key = 0;
	if (why == LANE_REPORTED) {
		cpu->count.lost++;
		return 0;
	}
	if (cpu->lane.candidate && (why != LANE_AT_ONCE || !cpu->lane.passed))
		return 0;
	if (cpu->lane.candidate)
		cpu->count.started++;
	cpu->count.outcomes[VMLAT_EVICTED]++;
	return 0;
}

/*
 * The packet in the lane is a flight in this CPU's slot from now on. The slot is vacant: it was when
 * the packet began, and who moves another flight there vacates it first.
 */
GLOBAL int leave_lane(__u32 why)
{
	struct cpu_state *cpu = this_cpu();
	struct vmlat_lane *lane = &cpu->lane;
	/* before its first hook, skb_iif is not set; in the driver, it may be anything by now */
	bool another = (why == LANE_MET || why == LANE_LEFT) && !lane->driving && is_another(lane);
	struct vmlat_flight *flight = another ? NULL : new_flight(cpu);

	if (!flight)
		return evict_lane(cpu, why);
	fill_slot(flight->slot, VMLAT_LANE);
	if (why == LANE_MET && !lane->driving)
		flight->head = head_of(lane); /* it may have another buffer by now */
	if (lane->driving)
		drive_on(cpu, flight, lane);
	lane->key = 0;
	cpu->occupied = 1;
	barrier();
	flight->place = lane->driving ? VMLAT_DRIVING : VMLAT_ON_CPU;
	return 1;
}

/*
 * The same of what is parked there, whoever asks: from now on it is a flight that is published. Its
 * carrier cannot be another's, since the packet would have been that one's end when it was received.
 */
GLOBAL int leave_parking(__u32 index)
{
	struct vmlat_parked *parked = bpf_map_lookup_elem(&parked_lanes, &index);
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight = NULL;
	__u32 slot;

	if (!parked || !parked->lane.key)
		return 0;
	if (take_free_slot(cpu, &slot))
		flight = new_flight_in(slot);
	if (flight) {
		fill_slot(slot, index);
		flight->place = VMLAT_PUBLISHED;
	}
	clear_parked(parked, index);
	if (flight && insert_carrier(flight->carrier, flight, ROLE_ORIGINAL))
		return 1;
	cpu->count.outcomes[VMLAT_EVICTED]++;
	if (flight) {
		flight->place = VMLAT_FREE;
		bpf_map_push_elem(&free_slots, &slot, 0);
	}
	return 0;
}

/* --- its end --- */

static __always_inline __u32 row_of_lane(const struct vmlat_lane *lane)
{
	return lane->direction == VMLAT_TX ? lane->interface : lane->end_interface;
}

/* The interval of its statistics, if its total is remarkable there; else 0. */
static __always_inline __u32 count_lane(struct cpu_state *cpu)
{
	const struct vmlat_lane *lane = &cpu->lane;
	__u32 row = row_of_lane(lane), from = lane->stamp[0].stage, visits = lane->visits;
	const __u32 pairs = vmlat_pair_of(lane->direction, 0);
	struct vmlat_statistics *statistics = statistics_of(cpu, row);
	__u64 begin = lane->stamp[0].ns, before = begin;

	if (!statistics) {
		cpu->count.uncounted++;
		return 0;
	}
#pragma unroll /* a fifth less for each segment */
	for (__u32 i = 1; i < VMLAT_LANE_STAMPS; i++) {
		__u64 ns = lane->stamp[i].ns;
		__u32 to = lane->stamp[i].stage;

		if (i >= visits)
			break;
		count_in(statistics, pairs + vmlat_pair(from, to), ns - before);
		before = ns;
		from = to;
	}
	return count_in(statistics, pairs + VMLAT_TOTAL, before - begin) ? statistics->interval : 0;
}

/* Its record, made for this alone. It is counted already. */
static __always_inline void report_lane(struct cpu_state *cpu, enum vmlat_outcome outcome,
					__u32 remarkable)
{
	struct vmlat_flight *flight;

	if (!leave_lane(LANE_REPORTED))
		return;
	cpu->driving_skb = 0;
	flight = flight_at(cpu->slot);
	if (!flight)
		return;
	flight->outcome = outcome;
	flight->remarkable = remarkable;
	close_exit(&flight->exit[0], outcome, flight->last_ns);
	send_report(cpu, flight);
	release_slot(cpu, flight);
}

/* The device took what is in the lane. */
GLOBAL int finish_lane(void)
{
	struct cpu_state *cpu = this_cpu();
	struct vmlat_lane *lane = &cpu->lane;
	__u64 last = lane->visits - 1;
	__u32 remarkable;

	barrier_var(last);
	if (last >= VMLAT_LANE_STAMPS)
		return 0;
	barrier_var(last);
	cpu->count.outcomes[VMLAT_COMPLETED]++;
	if (lane->direction == VMLAT_RX)
		count_traffic(lane->end_interface, VMLAT_RX, lane->length);
	remarkable = count_lane(cpu);
	if (is_wanted(&settings, VMLAT_COMPLETED, lane->stamp[last].ns - lane->stamp[0].ns,
		      remarkable))
		report_lane(cpu, VMLAT_COMPLETED, remarkable);
	lane->key = 0;
	return 0;
}

/*
 * The same, by whoever tells first: the free by the driver, or its answer. False: it takes a record
 * to end it.
 */
static __always_inline bool lane_is_taken(struct cpu_state *cpu)
{
	struct vmlat_lane *lane = &cpu->lane;

	if (features.flows || !lane->driving)
		return false;
	if (lane->end_interface != VMLAT_INTERFACE_NONE) {
		if (lane->direction == VMLAT_RX && !lane->seen)
			return false;
		finish_lane();
		return true;
	}
	if (settings.outcomes & 1U << VMLAT_DIVERTED)
		return false;
	cpu->count.outcomes[VMLAT_DIVERTED]++;
	lane->key = 0;
	return true;
}

/* The same of a CPU that is offline, where nobody can give it a record. */
static __always_inline int lane_is_lost(__u64 number)
{
	struct cpu_state *cpu = (struct cpu_state *)&cpus[number & (VMLAT_CPUS - 1)];

	if (cpu->lane.key)
		evict_lane(cpu, LANE_MET);
	return 0;
}

/*
 * User space has found what is parked silent for long: it gives it up, waits until nobody can have it
 * in hand any more, and has it ended then.
 */
static __always_inline int parked_is_silent(const struct vmlat_expire *args)
{
	__u32 index = args->parked;
	struct vmlat_parked *parked = bpf_map_lookup_elem(&parked_lanes, &index);
	enum vmlat_outcome outcome = args->outcome;
	struct vmlat_flight *flight;
	__u64 key, last;
	__u32 role;

	if (!parked)
		return 0;
	key = parked->lane.key;
	last = parked->lane.visits - 1;
	barrier_var(last);
	if (!key || last >= VMLAT_LANE_STAMPS)
		return 0;
	barrier_var(last);
	if (parked->lane.stamp[last].ns != args->last_ns)
		return 0;
	if (outcome >= VMLAT_OUTCOME_COUNT) {
		parked->given_up = key;
		return 0;
	}
	if (parked->given_up != key || !leave_parking(index))
		return 0;
	flight = published_flight(key, &role);
	return flight ? end_flight(flight->slot, outcome, bpf_ktime_get_ns()) : 0;
}

/* User space has found it there, silent for long: it left its call stack unseen. */
static __always_inline int lane_was_left(struct cpu_state *cpu, __u64 last_ns)
{
	__u64 last = cpu->lane.visits - 1;

	barrier_var(last);
	if (last >= VMLAT_LANE_STAMPS)
		return 0;
	barrier_var(last);
	if (cpu->lane.key && cpu->lane.stamp[last].ns == last_ns)
		vacate_slot(cpu);
	return 0;
}

#endif
