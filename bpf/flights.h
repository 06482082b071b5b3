/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The life of a flight: its slot, the places where it is found, its visits, its end.
 *
 * A packet begins in the lane of its CPU (lane.h), and as a rule ends there, without a record. Any
 * other has one, in a slot; each CPU has one slot of its own, where the packet that is in its call
 * stack is found by comparing one address, without any map. Before anything that can hand the packet
 * to another CPU it is published, which gives the slot away; the CPU takes a free one instead.
 *
 * Who ends a flight must first win it: delete its only entry in a hash map (5.10 has no atomic
 * exchange for BPF), or its token where it has several, or be on the CPU that alone knows it.
 *
 * What is rare is in GLOBAL functions: the verifier looks at each once, not again for every way
 * that leads there. Their arguments are numbers (5.10 knows no others): a flight is its slot, an
 * skb its address.
 */
#ifndef VMLAT_FLIGHTS_H
#define VMLAT_FLIGHTS_H

static __always_inline struct flight_slot *slot_at(__u32 index)
{
	return bpf_map_lookup_elem(&flights, &index);
}

/* Else what it would tell has to come from elsewhere. */
static __always_inline bool is_attached(enum vmlat_hook hook)
{
	return features.attached >> hook & 1;
}

static __always_inline struct vmlat_flight *flight_at(__u32 index)
{
	struct flight_slot *slot = slot_at(index);

	return slot ? &slot->flight : NULL;
}

static __always_inline struct vmlat_flight *flight_of(const struct flight_ref *ref)
{
	struct flight_slot *slot = slot_at(ref->slot);

	if (!slot || slot->flight.generation != ref->generation || slot->flight.place == VMLAT_FREE)
		return NULL;
	return &slot->flight;
}

static __always_inline struct flight_ref ref_of(const struct vmlat_flight *flight)
{
	return (struct flight_ref){ .slot = flight->slot, .generation = flight->generation };
}

#ifdef VMLAT_PLANTED /* by the tests, which are to catch it */
#include "planted.h"
#else
/* What tells one packet's skb from another's: its address. */
static __always_inline __u64 key_of(const struct sk_buff *skb)
{
	return (__u64)skb;
}
#endif

/* A number for GLOBAL functions, which the verifier lets nobody give a pointer. */
static __always_inline __u64 number_of(struct cpu_state *cpu, __u64 pointer)
{
	cpu->pointer = pointer;
	return cpu->pointer;
}

/* The same where a softirq may come between. */
static __always_inline __u64 number_in_thread(struct cpu_state *cpu, __u64 pointer)
{
	cpu->pointer_in_thread = pointer;
	return cpu->pointer_in_thread;
}

static __always_inline bool refers_to(const struct flight_ref *ref,
				      const struct vmlat_flight *flight)
{
	return ref->slot == flight->slot && ref->generation == flight->generation;
}

/* --- where it is found --- */

static __always_inline bool insert_carrier(__u64 key, const struct vmlat_flight *flight, __u32 role)
{
	struct carrier carrier = { .flight = ref_of(flight), .role = role };

	__sync_fetch_and_add(&known.carriers, 1); /* before anybody can take it away */
	if (bpf_map_update_elem(&carriers, &key, &carrier, BPF_NOEXIST) == 0)
		return true;
	__sync_fetch_and_add(&known.carriers, -1);
	return false;
}

/* True for the one caller that took the entry away. */
static __always_inline bool remove_carrier(__u64 key)
{
	if (bpf_map_delete_elem(&carriers, &key))
		return false;
	__sync_fetch_and_add(&known.carriers, -1);
	return true;
}

/*
 * No flight can be met in this call stack: what the hooks of a packet that is none look at first. What
 * is parked comes to a device, or is freed, before it comes to a switch again: see is_nobodys.
 */
static __always_inline bool is_idle(const struct cpu_state *cpu)
{
	return !cpu->lane.key && !*(const __u64 *)&cpu->occupied && /* and untold */
	       !cpu->driving_skb && !known.any;
}

/* The same where a packet may come out of a queue, or into one again. */
static __always_inline bool is_nobodys(const struct cpu_state *cpu, const struct sk_buff *skb)
{
	return is_idle(cpu) && !may_be_parked(key_of(skb));
}

/* Why what is in the lane gets a record. */
enum lane_exit {
	LANE_AT_ONCE, /* it does not stay there */
	LANE_MET, /* something else than a time is to be known of it */
	LANE_LEFT, /* it left its call stack unseen: its skb may be another packet's by now */
	LANE_REPORTED, /* it is over, and counted */
};

int leave_lane(__u32 why); /* lane.h */
int leave_parking(__u32 index); /* the same */

/* What is parked under this key is asked for more than a time: it gets a record. */
static __always_inline void look_into_parking(__u64 key)
{
	__u32 index;

	if (may_be_parked(key) && parked_at(key, &index))
		leave_parking(index);
}

/* The open flight in this CPU's own slot, or NULL. */
static __always_inline struct vmlat_flight *own_flight(const struct cpu_state *cpu)
{
	struct flight_slot *slot;

	if (!cpu->ready)
		return NULL;
	slot = slot_at(cpu->slot);
	return slot && slot->flight.place == VMLAT_ON_CPU ? &slot->flight : NULL;
}

/* The open flight in this CPU's call stack, or NULL. */
static __always_inline struct vmlat_flight *current_flight(const struct cpu_state *cpu)
{
	if (cpu->lane.key)
		leave_lane(LANE_MET);
	return own_flight(cpu);
}

/* The same, if it is this skb's. */
static __always_inline struct vmlat_flight *flight_here(const struct cpu_state *cpu, __u64 key)
{
	struct vmlat_flight *flight;

	if (cpu->lane.key == key)
		leave_lane(LANE_MET);
	flight = own_flight(cpu);
	return flight && flight->carrier == key ? flight : NULL;
}

/* The published flight that this skb, or this buffer, belongs to, and as what; or NULL. */
static __always_inline struct vmlat_flight *published_flight(__u64 key, __u32 *role)
{
	struct carrier *carrier;

	look_into_parking(key);
	if (!known.carriers)
		return NULL;
	carrier = bpf_map_lookup_elem(&carriers, &key);
	if (!carrier)
		return NULL;
	*role = carrier->role;
	return flight_of(&carrier->flight);
}

/* The flight that this skb belongs to, and as what; or NULL. */
static __always_inline struct vmlat_flight *find_flight(struct cpu_state *cpu, __u64 key,
							__u32 *role)
{
	struct vmlat_flight *flight = flight_here(cpu, key);

	*role = ROLE_ORIGINAL;
	if (flight)
		return flight;
	if (cpu->driving_skb == key) {
		*role = cpu->driving_role;
		return flight_of(&cpu->driving);
	}
	return published_flight(key, role);
}

/* --- on its way --- */

static __always_inline void take_stack(void *ctx, struct cpu_state *cpu, struct vmlat_visit *visit)
{
	visit->stack = bpf_get_stackid(ctx, &stacks, 0);
	if (visit->stack < 0)
		cpu->count.stacks_lost++;
}

static __always_inline void visit(void *ctx, struct cpu_state *cpu, struct vmlat_flight *flight,
				  enum vmlat_stage stage, enum vmlat_hook hook, __u64 ns)
{
	__u32 n = flight->visits;
	struct vmlat_visit *visit;

	flight->last_ns = ns;
	flight->left = 0;
	if (n >= VMLAT_VISITS) {
		flight->visits_beyond++;
		return;
	}
	flight->visits = n + 1;
	visit = &flight->visit[n];
	visit->ns = ns;
	visit->skb = flight->carrier;
	visit->cpu = cpu->number;
	visit->stage = stage;
	visit->hook = hook;
	visit->stack = -1;
	if (features.stacks)
		take_stack(ctx, cpu, visit);
}

/* Its visit to this stage is now, if there is one among the few from that one on. */
GLOBAL int visit_later(__u32 slot, __u32 stage, __u32 from, __u64 ns)
{
	enum { FEW = 8 }; /* a part passes no more stages */
	struct vmlat_flight *flight = flight_at(slot);

	for (__u32 i = 0; flight && i < FEW; i++) {
		__u64 at = from + i;

		barrier_var(at);
		if (at >= VMLAT_VISITS || at >= flight->visits)
			return 0;
		barrier_var(at);
		if (flight->visit[at].stage != stage)
			continue;
		flight->visit[at].ns = ns;
		flight->last_ns = ns;
		flight->left = 0;
		return 1;
	}
	return 0;
}

/*
 * As visit, for one of a flight's segments or parts: the stage is passed when the last of them
 * has. `from`: visits before that one are not theirs.
 */
static __always_inline void visit_of_one(void *ctx, struct cpu_state *cpu,
					 struct vmlat_flight *flight, __u32 from,
					 enum vmlat_stage stage, enum vmlat_hook hook, __u64 ns)
{
	if (!visit_later(flight->slot, stage, from, ns))
		visit(ctx, cpu, flight, stage, hook, ns);
}

/* The same for whatever the skb is to the flight; a copy visits nothing. */
static __always_inline void visit_as(void *ctx, struct cpu_state *cpu, struct vmlat_flight *flight,
				     __u32 role, enum vmlat_stage stage, enum vmlat_hook hook,
				     __u64 ns)
{
	if (role == ROLE_ORIGINAL)
		visit(ctx, cpu, flight, stage, hook, ns);
	else if (role == ROLE_PART)
		visit_of_one(ctx, cpu, flight, flight->parted_at, stage, hook, ns);
}

/* The exit that a role below VMLAT_EXITS names; NULL for any other. */
static __always_inline struct vmlat_exit *exit_at(struct vmlat_flight *flight, __u64 role)
{
	barrier_var(role); /* one copy of it, bounded before it is used */
	if (role >= VMLAT_EXITS)
		return NULL;
	barrier_var(role);
	return &flight->exit[role];
}

/* Index of the open exit that this skb takes, VMLAT_EXITS: it has none. */
GLOBAL __u32 open_exit(__u32 slot, __u64 key)
{
	const struct vmlat_flight *flight = flight_at(slot);

	for (__u32 i = 0; flight && i < VMLAT_EXITS; i++) {
		const struct vmlat_exit *exit = &flight->exit[i];

		if (i < flight->exits && exit->skb == key && !exit->closed)
			return i;
	}
	return VMLAT_EXITS;
}

/* Index of an exit whose packet is done, and went where the trace does not end; or VMLAT_EXITS. */
static __always_inline __u32 spare_exit(const struct vmlat_flight *flight)
{
	for (__u32 i = 0; i < VMLAT_EXITS; i++)
		if (flight->exit[i].closed && flight->exit[i].outcome != VMLAT_COMPLETED)
			return i;
	return VMLAT_EXITS;
}

/* Index of a new exit, VMLAT_EXITS: there is no room. */
GLOBAL __u32 new_exit(__u32 slot, __u64 key)
{
	struct vmlat_flight *flight = flight_at(slot);
	struct vmlat_exit *exit;
	__u32 n;

	if (!flight)
		return VMLAT_EXITS;
	n = flight->exits;
	if (n >= VMLAT_EXITS) {
		flight->exits_beyond++;
		n = spare_exit(flight);
	} else {
		flight->exits = n + 1;
	}
	exit = exit_at(flight, n);
	if (!exit)
		return VMLAT_EXITS;
	exit->skb = key;
	exit->ns = 0;
	exit->device.netns = 0;
	exit->device.ifindex = 0;
	exit->closed = 0;
	exit->segments = 0;
	exit->segments_lost = 0;
	exit->interface = VMLAT_NO_INTERFACE;
	return n;
}

/* Index of the exit that this skb takes, a new one if need be; VMLAT_EXITS: there is no room. */
static __always_inline __u32 exit_of(struct vmlat_flight *flight, __u64 key)
{
	__u32 index = flight->exits ? open_exit(flight->slot, key) : VMLAT_EXITS;

	return index < VMLAT_EXITS ? index : new_exit(flight->slot, key);
}

static __always_inline void close_exit(struct vmlat_exit *exit, enum vmlat_outcome outcome,
				       __u64 ns)
{
	exit->ns = ns;
	exit->outcome = outcome;
	exit->closed = 1;
}

/* --- its end --- */

static __always_inline void count_drop(struct cpu_state *cpu, const struct vmlat_flight *flight)
{
	struct vmlat_drop key = {
		.location = flight->location,
		.reason = flight->reason,
		.has_reason = flight->has_reason,
	};
	__u32 last = flight->visits - 1;
	__u64 one = 1, *count;

	if (!key.location && last < VMLAT_VISITS)
		key.hook = flight->visit[last].hook;
	count = bpf_map_lookup_elem(&drops, &key);
	if (count)
		++*count;
	else if (bpf_map_update_elem(&drops, &key, &one, BPF_ANY))
		cpu->count.drops_lost++;
}

static __always_inline void count_traffic(__u32 interface, __u8 direction, __u32 bytes)
{
	__u32 key = interface * 2 + (direction == VMLAT_RX);
	struct vmlat_traffic *entry = bpf_map_lookup_elem(&traffic, &key);

	if (entry) {
		entry->packets++;
		entry->bytes += bytes;
	}
}

/*
 * User space looks ten times a second by itself. It is woken when a quarter of the buffer waits for
 * it, and at each sixteenth more: CPUs that write at once may step over one of these marks unseen.
 */
static __always_inline __u64 wake_up(__u64 size)
{
	__u64 before = bpf_ringbuf_query(&reports, BPF_RB_AVAIL_DATA);
	__u64 marks = (before + size) >> features.wake_shift;

	return marks >= 4 && marks != before >> features.wake_shift ? BPF_RB_FORCE_WAKEUP
								    : BPF_RB_NO_WAKEUP;
}

/* Whether a packet that ended so, after so long, is to be reported. */
static __always_inline bool is_wanted(const struct vmlat_config *config, enum vmlat_outcome outcome,
				      __u64 ns, __u32 remarkable)
{
	return config->outcomes & 1U << outcome && ns >= config->threshold_ns &&
	       (!config->summary || remarkable);
}

static __always_inline void send_report(struct cpu_state *cpu, struct vmlat_flight *flight)
{
	__u64 visits = flight->visits, size;

	if (visits > VMLAT_VISITS)
		return;
	size = vmlat_flight_size(visits);
	if (bpf_ringbuf_output(&reports, flight, size, wake_up(size)))
		cpu->count.lost++;
	else
		cpu->count.reported++;
}

static __always_inline void report_flight(struct cpu_state *cpu, struct vmlat_flight *flight)
{
	if (is_wanted(&settings, flight->outcome, flight->last_ns - flight->begin_ns,
		      flight->remarkable))
		send_report(cpu, flight);
}

/* The flight keeps its slot when this CPU goes on to other packets. */
static __always_inline void give_slot_away(struct cpu_state *cpu, const struct vmlat_flight *flight)
{
	if (cpu->ready && cpu->slot == flight->slot)
		cpu->ready = cpu->occupied = 0;
}

static __always_inline void release_slot(struct cpu_state *cpu, struct vmlat_flight *flight)
{
	__u32 slot = flight->slot;

	flight->place = VMLAT_FREE;
	/* a thread may be here, whom a softirq interrupts: only that one gives this CPU a slot */
	if (cpu->ready && cpu->slot == slot)
		cpu->occupied = 0;
	else
		bpf_map_push_elem(&free_slots, &slot, 0);
}

/* Whoever deletes the token of a flight may end it. */
static __always_inline bool insert_token(const struct vmlat_flight *flight)
{
	struct flight_ref ref = ref_of(flight);
	__u8 one = 1;

	return bpf_map_update_elem(&shared_flights, &ref, &one, BPF_ANY) == 0;
}

static __always_inline bool take_token(const struct vmlat_flight *flight)
{
	struct flight_ref ref = ref_of(flight);

	return bpf_map_delete_elem(&shared_flights, &ref) == 0;
}

/* How often forget_copy has to be called for an exit. */
enum { FORGETTINGS = 4 };

GLOBAL int forget_copy(__u32 index, __u32 n); /* segments.h */

/* The copies and segments of a flight that ends are found no more. */
static __always_inline void forget_copies(const struct vmlat_flight *flight)
{
	take_token(flight);
	for (__u32 i = 0; i < VMLAT_EXITS * FORGETTINGS && i < flight->exits * FORGETTINGS; i++)
		forget_copy(flight->slot, i);
}

static void order_visits(const struct vmlat_flight *flight); /* statistics.h */
static void count_flight(struct cpu_state *cpu, struct vmlat_flight *flight); /* the same */

/* Count, report and forget a flight that the caller has won. A candidate is forgotten only. */
GLOBAL int finish_flight(__u32 slot)
{
	struct vmlat_flight *flight = flight_at(slot);
	struct cpu_state *cpu = this_cpu();
	__u32 outcome;

	if (!flight)
		return 0;
	outcome = flight->outcome;
	if (flight->shared)
		forget_copies(flight);
	if (!flight->candidate) {
		/* in a thread that reads a socket a softirq may come between */
		if (outcome < VMLAT_OUTCOME_COUNT)
			__sync_fetch_and_add(&cpu->count.outcomes[outcome], 1);
		if (flight->segments > 1)
			order_visits(flight);
		if (outcome == VMLAT_COMPLETED)
			count_flight(cpu, flight);
		if (outcome == VMLAT_DROPPED)
			count_drop(cpu, flight);
		report_flight(cpu, flight);
	}
	release_slot(cpu, flight);
	return 0;
}

/* Take the flight out of the place where it is found: true for the one caller that did. */
static __always_inline bool take_flight(struct cpu_state *cpu, struct vmlat_flight *flight)
{
	switch (flight->place) {
	case VMLAT_DRIVING:
	case VMLAT_ON_CPU:
		if (flight->cpu != cpu->number) /* it was elsewhere when the caller looked */
			return false;
		if (flight->place == VMLAT_DRIVING && refers_to(&cpu->driving, flight))
			cpu->driving_skb = 0;
		/* nor does an interrupt end it (expire) */
		flight->place = flight->shared ? VMLAT_TAKEN : VMLAT_FREE;
		return true;
	case VMLAT_PUBLISHED:
		if (!remove_carrier(flight->carrier))
			return false;
		if (flight->by_head)
			remove_carrier(flight->head);
		flight->by_head = 0;
		return true;
	case VMLAT_UPCALLED:
	case VMLAT_PARTED:
		/* its copies need one, too */
		return take_token(flight) && (!flight->shared || insert_token(flight));
	default:
		return false;
	}
}

static __always_inline struct way *way_at(struct flight_slot *slot, __u64 exit)
{
	barrier_var(exit);
	if (exit >= VMLAT_EXITS)
		return NULL;
	barrier_var(exit);
	return &slot->way[exit];
}

static __always_inline void append_visit(struct vmlat_flight *flight, __u16 cpu, __u64 ns,
					 enum vmlat_stage stage, enum vmlat_hook hook)
{
	__u64 n = flight->visits;
	struct vmlat_visit *visit;

	barrier_var(n);
	if (!ns || n >= VMLAT_VISITS)
		return;
	barrier_var(n);
	visit = &flight->visit[n];
	visit->ns = ns;
	visit->skb = 0;
	visit->stack = -1;
	visit->cpu = cpu;
	visit->stage = stage;
	visit->hook = hook;
	flight->visits = n + 1;
}

/* Out of a switch: Open vSwitch's or a Linux bridge. */
static __always_inline enum vmlat_stage port_stage(enum vmlat_hook hook)
{
	return hook == VMLAT_HOOK_BR_DEV_QUEUE_PUSH_XMIT ? VMLAT_STAGE_BRIDGE_OUT
							 : VMLAT_STAGE_VPORT;
}

/* The flight ends by a copy: its stages are those of the copy's way, not the original's. */
GLOBAL int take_way(__u32 index, __u32 exit)
{
	struct flight_slot *slot = slot_at(index);
	const struct way *way = slot ? way_at(slot, exit) : NULL;
	struct vmlat_flight *flight;

	if (!way)
		return 0;
	flight = &slot->flight;
	if (way->common < flight->visits)
		flight->visits = way->common;
	flight->visits_beyond = 0;
	append_visit(flight, way->cpu, way->port_ns, port_stage(way->port_hook), way->port_hook);
	if (flight->direction == VMLAT_TX)
		append_visit(flight, way->cpu, way->xmit_ns, VMLAT_STAGE_XMIT,
			     is_attached(VMLAT_HOOK_DEV_QUEUE_XMIT) ? VMLAT_HOOK_DEV_QUEUE_XMIT
								    : VMLAT_HOOK_NET_DEV_QUEUE);
	append_visit(flight, way->cpu, way->end_ns,
		     flight->direction == VMLAT_TX ? VMLAT_STAGE_DRIVER : VMLAT_STAGE_TAP_OUT,
		     way->end_hook);
	return 0;
}

enum { STILL_OPEN = VMLAT_EXITS + 1, NO_EXIT = VMLAT_OUTCOME_COUNT + 1 };

/* VMLAT_OUTCOME_COUNT: it is not done; NO_EXIT: there is none of this number. */
GLOBAL __u32 outcome_of_exit(__u32 slot, __u32 number)
{
	struct vmlat_flight *flight = flight_at(slot);
	const struct vmlat_exit *exit = flight ? exit_at(flight, number) : NULL;

	if (!exit || number >= flight->exits)
		return NO_EXIT;
	return exit->closed ? exit->outcome : VMLAT_OUTCOME_COUNT;
}

/*
 * Index of the first exit that is completed, VMLAT_EXITS: none is. STILL_OPEN: one is not done, and
 * is not given up.
 */
GLOBAL int completed_exit(__u32 index, __u32 given_up)
{
	if (given_up == VMLAT_OUTCOME_COUNT)
		for (__u32 i = 0; i < VMLAT_EXITS; i++)
			if (outcome_of_exit(index, i) == VMLAT_OUTCOME_COUNT)
				return STILL_OPEN;
	for (__u32 i = 0; i < VMLAT_EXITS; i++)
		if (outcome_of_exit(index, i) == VMLAT_COMPLETED)
			return i;
	return VMLAT_EXITS;
}

/*
 * One skb of a flight with copies or segments is done. The last ends the flight: completed, at
 * the time of the first exit that was, if any of them is. What is still open is given up when
 * the caller has an outcome for that, else VMLAT_OUTCOME_COUNT.
 */
GLOBAL int end_shared(__u32 index, __u32 given_up)
{
	struct flight_slot *slot = slot_at(index);
	const struct vmlat_exit *exit;
	struct vmlat_flight *flight;
	__u32 by;

	if (!slot)
		return 0;
	flight = &slot->flight;
	/* who is done says so first and looks then, on each CPU: one of them sees both */
	__sync_fetch_and_add(&slot->fence, 1);
	if (flight->place != VMLAT_LEAVING)
		return 0;
	by = completed_exit(index, given_up);
	if (by == STILL_OPEN || !take_token(flight))
		return 0;
	exit = exit_at(flight, by);
	if (exit && flight->outcome != VMLAT_COMPLETED) {
		flight->outcome = VMLAT_COMPLETED;
		flight->last_ns = exit->ns;
		if (exit->skb != flight->carrier)
			take_way(index, by);
	}
	if (flight->outcome == VMLAT_OUTCOME_COUNT)
		flight->outcome = given_up; /* the original's own segments are among the open */
	return finish_flight(flight->slot);
}

/*
 * The carrier of this flight is done. For a drop, location and reason are known to the flight
 * already; ns is when it ended, 0 when its last visit was the end.
 */
static __always_inline int end_carrier(struct cpu_state *cpu, struct vmlat_flight *flight,
				       enum vmlat_outcome outcome, __u64 ns)
{
	if (!take_flight(cpu, flight))
		return 0;
	flight->outcome = outcome;
	if (ns)
		flight->last_ns = ns;
	if (!flight->shared)
		return finish_flight(flight->slot);
	give_slot_away(cpu, flight);
	flight->place = VMLAT_LEAVING;
	return end_shared(flight->slot, VMLAT_OUTCOME_COUNT);
}

GLOBAL int end_flight(__u32 slot, __u32 outcome, __u64 ns)
{
	struct vmlat_flight *flight = flight_at(slot);

	return flight ? end_carrier(this_cpu(), flight, outcome, ns) : 0;
}

/* What is still known under this address missed its own end: the skb is another now. */
GLOBAL int evict_stale(__u64 key)
{
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *stale;
	struct carrier *carrier;
	struct vmlat_exit *exit;

	look_into_parking(key);
	carrier = bpf_map_lookup_elem(&carriers, &key);
	if (!carrier)
		return 0;
	stale = flight_of(&carrier->flight);
	exit = stale ? exit_at(stale, carrier->role) : NULL;
	if (stale && carrier->role == ROLE_ORIGINAL && stale->carrier == key)
		return end_carrier(cpu, stale, stale->left ? VMLAT_DIVERTED : VMLAT_EVICTED, 0);
	if (!remove_carrier(key) || !exit || exit->segments)
		return 0;
	close_exit(exit, VMLAT_DIVERTED, bpf_ktime_get_ns());
	return end_shared(stale->slot, VMLAT_OUTCOME_COUNT);
}

/* A softirq may have published what a thread was about to. */
static __always_inline bool is_published(const struct vmlat_flight *flight)
{
	__u64 key = flight->carrier;
	const struct carrier *carrier = bpf_map_lookup_elem(&carriers, &key);

	return carrier && refers_to(&carrier->flight, flight);
}

/* Make the flight known to every CPU, under its carrier's address. */
GLOBAL int publish_flight(__u32 slot)
{
	struct vmlat_flight *flight = flight_at(slot);

	if (!flight || flight->place != VMLAT_ON_CPU)
		return 0;
	flight->place = VMLAT_PUBLISHED;
	give_slot_away(this_cpu(), flight);
	if (insert_carrier(flight->carrier, flight, ROLE_ORIGINAL) || is_published(flight))
		return 0;
	evict_stale(flight->carrier);
	if (insert_carrier(flight->carrier, flight, ROLE_ORIGINAL))
		return 0;
	flight->outcome = VMLAT_EVICTED;
	return finish_flight(flight->slot);
}

/* To where the trace does not end; the packet may come back, on any CPU. */
static __always_inline void flight_leaves(struct vmlat_flight *flight, enum vmlat_left how)
{
	flight->left = how;
	publish_flight(flight->slot);
}

/* A part that goes on in another way brings no copies that its buffer would tell. */
static __always_inline void forget_head(__u32 role, const struct sk_buff *skb)
{
	if (role == ROLE_PART)
		remove_carrier((__u64)BPF_CORE_READ(skb, head));
}

static __always_inline bool shares_buffer(const struct vmlat_flight *flight,
					  const struct sk_buff *skb)
{
	return (__u64)BPF_CORE_READ(skb, head) == flight->head;
}

/* Without these hooks, nobody tells that a packet goes to the host. */
static __always_inline bool host_is_untold(void)
{
	return !is_attached(VMLAT_HOOK_OVS_VPORT_SEND) || !features.internal_dev_xmit;
}

/*
 * A candidate that has not left its NIC: what comes behind net:netif_receive_skb may have given it
 * another buffer (pskb_expand_head of generic XDP or tc). Another packet of that NIC would have
 * ended it (evict_current).
 */
static __always_inline bool is_candidate_still(struct vmlat_flight *flight,
					       const struct sk_buff *skb)
{
	if (!flight->candidate || flight->place != VMLAT_ON_CPU ||
	    BPF_CORE_READ(skb, skb_iif) != (int)flight->start.ifindex)
		return false;
	flight->head = (__u64)BPF_CORE_READ(skb, head);
	return true;
}

/*
 * Whether the skb at the carrier's address is the carrier still. Some of the host's stack frees
 * without a word (__kfree_skb of sk_eat_skb, kfree_skb_partial), and the address is then another
 * packet's, perhaps with the same buffer: one that the host itself makes was never received. The
 * flight ended there.
 */
static __always_inline bool still_carrier(struct vmlat_flight *flight, const struct sk_buff *skb)
{
	bool at_host = flight->left == VMLAT_TO_HOST || flight->candidate;
	/* what ovs-vswitchd sends back was not received either */
	bool received = at_host || (host_is_untold() && !flight->upcalled);

	if (!at_host && !flight->late && !host_is_untold())
		return true;
	if (is_candidate_still(flight, skb))
		return true;
	if (shares_buffer(flight, skb) && (!received || BPF_CORE_READ(skb, skb_iif)))
		return true;
	end_flight(flight->slot, at_host ? VMLAT_DIVERTED : VMLAT_EVICTED, 0);
	return false;
}

/* The same of a copy for the host, as far as its buffer tells; 1: it is another, and the copy over. */
GLOBAL int copy_is_another(__u32 index, __u32 role, __u64 address)
{
	const struct sk_buff *skb = (const struct sk_buff *)address;
	struct flight_slot *slot = slot_at(index);
	const struct way *way = slot ? way_at(slot, role) : NULL;
	struct vmlat_exit *exit = slot ? exit_at(&slot->flight, role) : NULL;

	if (!way || !exit || !way->host_head ||
	    ((__u64)BPF_CORE_READ(skb, head) == way->host_head && BPF_CORE_READ(skb, skb_iif)))
		return 0;
	if (remove_carrier(key_of(skb))) {
		close_exit(exit, VMLAT_DIVERTED, way->port_ns);
		end_shared(index, VMLAT_OUTCOME_COUNT);
	}
	return 1;
}

/* The flight that this skb is of, as find_flight says, unless the skb is another by now. */
static __always_inline struct vmlat_flight *flight_of_skb(struct cpu_state *cpu,
							  const struct sk_buff *skb, __u32 *role)
{
	struct vmlat_flight *flight = find_flight(cpu, key_of(skb), role);

	if (flight && *role == ROLE_ORIGINAL && !still_carrier(flight, skb))
		return NULL;
	if (flight && *role < VMLAT_EXITS &&
	    copy_is_another(flight->slot, *role, number_of(cpu, (__u64)skb)))
		return NULL;
	return flight;
}

/* --- its start --- */

static __always_inline void count_start(struct cpu_state *cpu, struct vmlat_flight *flight)
{
	flight->candidate = VMLAT_STARTED;
	cpu->count.started++;
}

/* It left the call stack unseen: its packet may be anywhere, and may be over by now. */
static __always_inline void publish_late(struct vmlat_flight *flight)
{
	flight->late = 1;
	publish_flight(flight->slot);
}

/* Leave this CPU's slot to the flight that is in its call stack, unless that is a candidate only. */
static __always_inline void vacate_slot(struct cpu_state *cpu)
{
	struct flight_slot *slot;

	if (cpu->lane.candidate)
		cpu->lane.key = 0;
	if (cpu->lane.key)
		leave_lane(LANE_LEFT);
	if (!cpu->ready)
		return;
	slot = slot_at(cpu->slot);
	if (!slot)
		return;
	/* a thread may have one in hand */
	if (slot->flight.place == VMLAT_DRIVING || slot->flight.place == VMLAT_TAKEN)
		cpu->ready = cpu->occupied = 0;
	else if (slot->flight.place == VMLAT_ON_CPU && !slot->flight.candidate)
		publish_late(&slot->flight);
	else
		slot->flight.place = cpu->occupied = 0; /* VMLAT_FREE */
}

/* False: all are in use. */
static __always_inline bool take_free_slot(struct cpu_state *cpu, __u32 *index)
{
	if (bpf_map_pop_elem(&free_slots, index))
		return false;
	if (*index >= cpu->slots)
		cpu->slots = *index + 1;
	return true;
}

/* A flight in a slot that the caller has. */
static __always_inline struct vmlat_flight *new_flight_in(__u32 index)
{
	struct flight_slot *slot = slot_at(index);

	if (!slot)
		return NULL;
	slot->flight.place = VMLAT_FREE; /* until all of it is written */
	slot->flight.slot = index;
	slot->flight.generation++;
	return &slot->flight;
}

/* This CPU's slot, which has to be vacant, for a new flight; NULL: all are in use. */
static __always_inline struct vmlat_flight *new_flight(struct cpu_state *cpu)
{
	__u32 index;

	if (!cpu->ready) {
		if (!take_free_slot(cpu, &index))
			return NULL;
		cpu->slot = index;
		cpu->ready = 1;
	}
	return new_flight_in(cpu->slot);
}

/* Let this CPU alone know the flight, which the caller has taken out of its place. */
static __always_inline void adopt_flight(struct cpu_state *cpu, struct vmlat_flight *flight)
{
	__u32 own;

	vacate_slot(cpu);
	own = cpu->slot;
	if (cpu->ready)
		bpf_map_push_elem(&free_slots, &own, 0);
	cpu->slot = flight->slot;
	cpu->ready = cpu->occupied = 1;
	flight->cpu = cpu->number;
	flight->place = VMLAT_ON_CPU;
}

/*
 * A packet that comes back to a switch, from the host or from user space, is in one call stack
 * again, with softirqs off (ovs_packet_cmd_execute turns them off around its actions).
 */
static __always_inline void settle_flight(struct cpu_state *cpu, struct vmlat_flight *flight)
{
	if (flight->place == VMLAT_PUBLISHED && take_flight(cpu, flight))
		adopt_flight(cpu, flight);
}

#endif
