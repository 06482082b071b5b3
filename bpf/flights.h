/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The life of a flight: its slot, the places where it is found, its visits, its end.
 *
 * Each CPU has one slot of its own. The packet that is in this CPU's call stack lives there and
 * is found by comparing one address, without any map. Before anything that can hand the packet
 * to another CPU it is published, which gives the slot away; the CPU takes a free one instead.
 *
 * Who ends a flight must first win it: delete its only entry in a hash map (5.10 has no atomic
 * exchange for BPF), or be on the CPU that alone knows it.
 */
#ifndef VMLAT_FLIGHTS_H
#define VMLAT_FLIGHTS_H

static __always_inline struct flight_slot *slot_at(__u32 index)
{
	return bpf_map_lookup_elem(&flights, &index);
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

/* --- where it is found --- */

static __always_inline bool insert_carrier(__u64 skb, const struct vmlat_flight *flight)
{
	struct flight_ref ref = ref_of(flight);

	if (bpf_map_update_elem(&carriers, &skb, &ref, BPF_NOEXIST))
		return false;
	__sync_fetch_and_add(&published, 1);
	return true;
}

/* True for the one caller that took the entry away. */
static __always_inline bool remove_carrier(__u64 skb)
{
	if (bpf_map_delete_elem(&carriers, &skb))
		return false;
	__sync_fetch_and_add(&published, -1);
	return true;
}

/* The open flight in this CPU's own slot, or NULL. */
static __always_inline struct vmlat_flight *current_flight(struct cpu_state *cpu)
{
	struct flight_slot *slot;

	if (!cpu->ready)
		return NULL;
	slot = slot_at(cpu->slot);
	return slot && slot->flight.place == VMLAT_ON_CPU ? &slot->flight : NULL;
}

/* The published flight that this skb belongs to, as its carrier or a copy, or NULL. */
static __always_inline struct vmlat_flight *published_flight(__u64 skb)
{
	struct flight_ref *ref;

	if (!published)
		return NULL;
	ref = bpf_map_lookup_elem(&carriers, &skb);
	return ref ? flight_of(ref) : NULL;
}

/* The flight that this skb belongs to, as its carrier or a copy, or NULL. */
static __always_inline struct vmlat_flight *find_flight(struct cpu_state *cpu, __u64 skb)
{
	struct vmlat_flight *flight = current_flight(cpu);

	if (flight && flight->carrier == skb)
		return flight;
	if (cpu->driving_skb == skb)
		return flight_of(&cpu->driving);
	return published_flight(skb);
}

/* --- on its way --- */

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
	if (features.stacks) {
		visit->stack = bpf_get_stackid(ctx, &stacks, 0);
		if (visit->stack < 0)
			cpu->count.stacks_lost++;
	}
}

/* As visit, for one segment of a flight: the stage is passed when the last of them has. */
static __always_inline void visit_of_segment(void *ctx, struct cpu_state *cpu,
					     struct vmlat_flight *flight, enum vmlat_stage stage,
					     enum vmlat_hook hook, __u64 ns)
{
	__u32 last = flight->visits - 1;

	if (last < VMLAT_VISITS && flight->visit[last].stage == stage) {
		flight->visit[last].ns = ns;
		flight->last_ns = ns;
		return;
	}
	visit(ctx, cpu, flight, stage, hook, ns);
}

/* The flight's entry for the way that this skb takes out, or NULL. */
static __always_inline struct vmlat_exit *open_exit(struct vmlat_flight *flight, __u64 skb)
{
	for (__u32 i = 0; i < VMLAT_EXITS; i++) {
		struct vmlat_exit *exit = &flight->exit[i];

		if (i < flight->exits && exit->skb == skb && !exit->closed)
			return exit;
	}
	return NULL;
}

/* The same, made when new; NULL: there is no room. */
static __always_inline struct vmlat_exit *exit_of(struct vmlat_flight *flight, __u64 skb)
{
	__u32 n = flight->exits;
	struct vmlat_exit *exit = n ? open_exit(flight, skb) : NULL;

	if (exit)
		return exit;
	if (n >= VMLAT_EXITS) {
		flight->exits_beyond++;
		return NULL;
	}
	flight->exits = n + 1;
	exit = &flight->exit[n];
	exit->skb = skb;
	exit->ns = 0;
	exit->device.netns = 0;
	exit->device.ifindex = 0;
	exit->closed = 0;
	return exit;
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

static __always_inline void report_flight(struct cpu_state *cpu, struct vmlat_flight *flight)
{
	const struct vmlat_config *config = configuration();
	__u64 visits = flight->visits;

	if (!config || !(config->outcomes & 1U << flight->outcome) ||
	    flight->last_ns - flight->begin_ns < config->threshold_ns || visits > VMLAT_VISITS)
		return;
	if (bpf_ringbuf_output(&reports, flight, vmlat_flight_size(visits), 0))
		cpu->count.lost++;
	else
		cpu->count.reported++;
}

/* The flight keeps its slot when this CPU goes on to other packets. */
static __always_inline void give_slot_away(struct cpu_state *cpu, const struct vmlat_flight *flight)
{
	if (cpu->ready && cpu->slot == flight->slot)
		cpu->ready = 0;
}

static __always_inline void release_slot(struct cpu_state *cpu, struct vmlat_flight *flight)
{
	__u32 slot = flight->slot;

	flight->place = VMLAT_FREE;
	if (!cpu->ready) {
		cpu->slot = slot; /* this CPU's next packet will need one */
		cpu->ready = 1;
	} else if (cpu->slot != slot) {
		bpf_map_push_elem(&free_slots, &slot, 0);
	}
}

static __always_inline void forget_copies(const struct vmlat_flight *flight)
{
	struct flight_ref ref = ref_of(flight);

	bpf_map_delete_elem(&shared_flights, &ref);
	for (__u32 i = 0; i < VMLAT_EXITS && i < flight->exits; i++)
		if (!flight->exit[i].closed)
			remove_carrier(flight->exit[i].skb);
}

/* Count, report and forget a flight that the caller has won. */
static __noinline int finish_flight(struct cpu_state *cpu, struct vmlat_flight *flight)
{
	__u32 outcome = flight->outcome;

	if (flight->shared)
		forget_copies(flight);
	if (outcome < VMLAT_OUTCOME_COUNT)
		cpu->count.outcomes[outcome]++;
	if (outcome == VMLAT_DROPPED)
		count_drop(cpu, flight);
	report_flight(cpu, flight);
	release_slot(cpu, flight);
	return 0;
}

/* Take the flight out of the place where it is found: true for the one caller that did. */
static __always_inline bool take_flight(struct cpu_state *cpu, struct vmlat_flight *flight)
{
	switch (flight->place) {
	case VMLAT_ON_CPU:
		return true;
	case VMLAT_DRIVING:
		cpu->driving_skb = 0;
		return true;
	case VMLAT_PUBLISHED:
		return remove_carrier(flight->carrier);
	default:
		return false;
	}
}

/*
 * One skb of a flight with copies is done. The last ends the flight, or the timeout does
 * (expired): completed, at the time of the first copy that was, if any of them is.
 */
static __noinline int end_shared(struct cpu_state *cpu, struct vmlat_flight *flight, bool expired)
{
	struct flight_ref ref = ref_of(flight);
	bool completed = flight->outcome == VMLAT_COMPLETED;

	if (flight->place != VMLAT_COPIES)
		return 0;
	for (__u32 i = 0; i < VMLAT_EXITS; i++) {
		const struct vmlat_exit *exit = &flight->exit[i];

		if (i >= flight->exits)
			break;
		if (!exit->closed && !expired)
			return 0;
		if (exit->closed && exit->outcome == VMLAT_COMPLETED && !completed) {
			flight->outcome = VMLAT_COMPLETED;
			flight->last_ns = exit->ns;
			completed = true;
		}
	}
	if (bpf_map_delete_elem(&shared_flights, &ref) == 0)
		finish_flight(cpu, flight);
	return 0;
}

/*
 * The carrier of this flight is done. For a drop, location and reason are known to the flight
 * already; ns is when it ended, 0 when its last visit was the end.
 */
static __noinline int end_flight(struct cpu_state *cpu, struct vmlat_flight *flight,
				 enum vmlat_outcome outcome, __u64 ns)
{
	if (!take_flight(cpu, flight))
		return 0;
	flight->outcome = outcome;
	if (ns)
		flight->last_ns = ns;
	if (!flight->shared)
		return finish_flight(cpu, flight);
	give_slot_away(cpu, flight);
	flight->place = VMLAT_COPIES;
	return end_shared(cpu, flight, false);
}

/*
 * Make the flight known to every CPU, under its carrier's address. A flight that is still
 * there under that address missed its own end: the packet is gone, and is pushed out.
 */
static __noinline int publish_flight(struct cpu_state *cpu, struct vmlat_flight *flight)
{
	struct vmlat_flight *stale;

	if (flight->place != VMLAT_ON_CPU)
		return 0;
	flight->place = VMLAT_PUBLISHED;
	give_slot_away(cpu, flight);
	if (insert_carrier(flight->carrier, flight))
		return 0;
	stale = published_flight(flight->carrier);
	if (stale && stale->carrier == flight->carrier)
		end_flight(cpu, stale, stale->left ? VMLAT_DIVERTED : VMLAT_EVICTED, 0);
	else
		remove_carrier(flight->carrier);
	if (insert_carrier(flight->carrier, flight))
		return 0;
	flight->outcome = VMLAT_EVICTED;
	return finish_flight(cpu, flight);
}

/* To where the trace does not end; the packet may come back, on any CPU. */
static __always_inline void flight_leaves(struct cpu_state *cpu, struct vmlat_flight *flight,
					  enum vmlat_left how)
{
	flight->left = how;
	publish_flight(cpu, flight);
}

static __always_inline bool shares_buffer(const struct vmlat_flight *flight,
					  const struct sk_buff *skb)
{
	return (__u64)BPF_CORE_READ(skb, head) == flight->head;
}

/*
 * Whether the skb at the carrier's address is the carrier still. Some of the host's stack frees
 * without a word (__kfree_skb of sk_eat_skb, kfree_skb_partial), and the address is then another
 * packet's: the flight ended there.
 */
static __always_inline bool still_carrier(struct cpu_state *cpu, struct vmlat_flight *flight,
					  const struct sk_buff *skb)
{
	if (flight->left != VMLAT_TO_HOST || shares_buffer(flight, skb))
		return true;
	end_flight(cpu, flight, VMLAT_DIVERTED, 0);
	return false;
}

/* --- its start --- */

/* Leave this CPU's slot to the flight that is in it, unless that is a candidate only. */
static __always_inline void vacate_slot(struct cpu_state *cpu)
{
	struct flight_slot *slot;

	if (!cpu->ready)
		return;
	slot = slot_at(cpu->slot);
	if (!slot)
		return;
	if (slot->flight.place == VMLAT_DRIVING)
		cpu->ready = 0;
	else if (slot->flight.place == VMLAT_ON_CPU && !slot->flight.candidate)
		publish_flight(cpu, &slot->flight); /* it left the call stack unseen */
}

/* A slot for a new packet in this CPU's call stack; NULL: all are in use. */
static __always_inline struct vmlat_flight *new_flight(struct cpu_state *cpu)
{
	struct flight_slot *slot;
	__u32 index;

	vacate_slot(cpu);
	if (!cpu->ready) {
		if (bpf_map_pop_elem(&free_slots, &index))
			return NULL;
		cpu->slot = index;
		cpu->ready = 1;
	}
	slot = slot_at(cpu->slot);
	if (!slot)
		return NULL;
	slot->flight.place = VMLAT_FREE; /* until all of it is written */
	slot->flight.slot = cpu->slot;
	slot->flight.generation++;
	return &slot->flight;
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
	cpu->ready = 1;
	flight->cpu = cpu->number;
	flight->place = VMLAT_ON_CPU;
}

#endif
