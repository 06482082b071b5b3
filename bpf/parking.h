/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where a packet that was in a lane waits in a queue: it leaves its call stack, and the CPU that takes
 * it out goes on with it in its own lane. No map is searched, none is locked, and nobody needs to win
 * anything: an skb in a queue has one owner at a time, and the queue's own lock is between the one
 * that put it in and the one that has it next.
 *
 * Each CPU parks in places of its own, one after the other. Which place an skb's packet has is in a
 * table, by a hash of its address; where that is another's already, or the place is taken, the
 * packet gets a record. Two CPUs that write the same entry at once lose one of the packets: it stays
 * where it is until user space gives it up.
 */
#ifndef VMLAT_PARKING_H
#define VMLAT_PARKING_H

enum { PARKING_BITS = 14 };

static volatile __u32 parking[1 << PARKING_BITS]; /* indexes of parked_lanes, plus 1; 0: none */

static __always_inline volatile __u32 *parking_entry(__u64 key)
{
	return &parking[LOW_HALF(key) * 0x9e3779b1U >> (32 - PARKING_BITS)];
}

/* What most skbs of a host are asked: this one certainly is not. */
static __always_inline bool may_be_parked(__u64 key)
{
	return *parking_entry(key);
}

/* The packet that waits under this key, and its index; or NULL. */
static __always_inline struct vmlat_parked *parked_at(__u64 key, __u32 *index)
{
	struct vmlat_parked *parked;

	*index = *parking_entry(key) - 1;
	parked = bpf_map_lookup_elem(&parked_lanes, index);
	return parked && parked->lane.key == key && parked->given_up != key ? parked : NULL;
}

static __always_inline void clear_parked(struct vmlat_parked *parked, __u32 index)
{
	volatile __u32 *entry = parking_entry(parked->lane.key);

	if (*entry == index + 1)
		*entry = 0;
	barrier();
	parked->lane.key = 0; /* its CPU may use the place from here on */
}

/* What is in the lane, before it can be another CPU's; false: there is no place. */
static __always_inline bool park(struct cpu_state *cpu)
{
	volatile __u32 *entry = parking_entry(cpu->lane.key);
	__u32 index = cpu->number * VMLAT_PARKED_EACH + (cpu->parked & (VMLAT_PARKED_EACH - 1));
	struct vmlat_parked *parked = bpf_map_lookup_elem(&parked_lanes, &index);

	if (!parked || *entry)
		return false;
	cpu->parked++;
	if (parked->lane.key)
		return false;
	cpu->lane.parked_cpu = cpu->number;
	cpu->lane.parked_visits = cpu->lane.visits;
	parked->lane = cpu->lane;
	parked->given_up = 0;
	barrier();
	*entry = index + 1;
	cpu->lane.key = 0;
	return true;
}

/* Out of the queue: in this CPU's call stack again, if no other packet is there. */
static __always_inline void unpark(struct cpu_state *cpu, __u64 key)
{
	struct vmlat_parked *parked;
	__u32 index;

	if (cpu->lane.key || cpu->occupied || cpu->driving_skb)
		return;
	parked = parked_at(key, &index);
	if (!parked)
		return;
	cpu->lane = parked->lane;
	clear_parked(parked, index);
}

#endif
