/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A packet that misses the flow table is copied to ovs-vswitchd and freed; what comes back is
 * a new skb (ovs_packet_cmd_execute). No address survives, so it is found by content: all
 * headers and the first payload bytes, and the input port. The copy has its VLAN tag inline
 * and its L4 checksum completed (queue_userspace_packet), so the tag counts wherever it stands
 * and the checksum does not count. Two with the same content on their way at once are
 * ambiguous, and are told as such. A GSO packet goes up in segments (queue_gso_packets), each of
 * which comes back by itself: the flight's parts.
 */
#ifndef VMLAT_UPCALL_H
#define VMLAT_UPCALL_H

enum { NETLINK_ATTRIBUTES = 32, NLA_HEADER = 4 };

static __always_inline void clear_checksum(struct content *content, __u32 at, __u8 protocol)
{
	at += protocol == PROTOCOL_TCP ? 16 : 6;
	if (at <= CONTENT_BYTES - 2) {
		content->bytes[at] = 0;
		content->bytes[at + 1] = 0;
	}
}

/*
 * Flow and headers of an skb whose data begins at the Ethernet header, into that scratch; 0 when
 * not even the network header was found. Apart from read_content, so that the verifier does not
 * follow that on each way through a parser.
 */
GLOBAL int read_headers(__u32 which, __u64 address)
{
	struct cpu_state *cpu = this_cpu();
	struct scratch *scratch;

	scratch = scratch_of(cpu, which);
	if (!read_ethernet((const struct sk_buff *)address, scratch))
		return 0;
	if (parse_scratch(which) != PARSED)
		scratch->flow.family = 0;
	return 1;
}

/*
 * Content and flow of an skb whose data begins at the Ethernet header, into that scratch; 0 when
 * it could not be read. A payload that is not in the linear part is left out on the way up;
 * `headers_only` does so on the way back.
 */
GLOBAL int read_content(__u32 which, __u64 address, __u32 headers_only)
{
	const struct sk_buff *skb = (const struct sk_buff *)address;
	struct cpu_state *cpu = this_cpu();
	struct scratch *scratch;
	struct content *content;
	__u32 length, linear, l3, size;

	scratch = scratch_of(cpu, which);
	content = &scratch->content;
	length = BPF_CORE_READ(skb, len);
	linear = length - BPF_CORE_READ(skb, data_len);
	__builtin_memset(content, 0, sizeof(*content));
	if (!read_headers(which, address))
		return 0;
	l3 = scratch->l3;
	__builtin_memcpy(content->mac, scratch->packet, sizeof(content->mac));
	content->ethertype = scratch->cursor.ethertype;
	content->vlans = scratch->flow.vlans;
	content->vlan_tci[0] = scratch->flow.vlan_tci[0];
	content->vlan_tci[1] = scratch->flow.vlan_tci[1];
	content->length = length - l3;
	size = linear - l3;
	if (linear < length && size < CONTENT_BYTES)
		headers_only = 1;
	if (headers_only) {
		content->headers_only = 1;
		size = scratch->cursor.at + scratch->cursor.l4_size;
		size = at_most(size, linear) - l3; /* it may be a lie */
	}
	if (bpf_probe_read_kernel(content->bytes, at_most(size, CONTENT_BYTES),
				  BPF_CORE_READ(skb, data) + l3))
		return 0;
	if (scratch->flow.has_ports)
		clear_checksum(content, scratch->cursor.at - l3, scratch->flow.protocol);
	return 1;
}

/* The port that user space says the packet came in by, from the nested KEY attribute. */
static __always_inline __u16 port_attribute(const struct nlattr *key)
{
	__u32 end = BPF_CORE_READ(key, nla_len), at = NLA_HEADER;

	for (int i = 0; i < NETLINK_ATTRIBUTES; i++) {
		struct nlattr attribute;
		__u32 port;

		if (at + NLA_HEADER > end ||
		    bpf_probe_read_kernel(&attribute, sizeof(attribute), (void *)key + at) ||
		    attribute.nla_len < NLA_HEADER)
			break;
		if (attribute.nla_type == OVS_KEY_ATTR_IN_PORT___vmlat) {
			bpf_probe_read_kernel(&port, sizeof(port), (void *)key + at + NLA_HEADER);
			return port;
		}
		at += (attribute.nla_len + 3) & ~3;
	}
	return 0;
}

/* --- up --- */

static __always_inline bool is_waiting(const struct vmlat_flight *flight)
{
	return flight && (flight->place == VMLAT_UPCALLED || flight->place == VMLAT_PARTED);
}

/*
 * What has gone up may be answered after its flight has expired, and the answer is nobody's then: as
 * long as that may be, what else has its content cannot be told from it.
 */
static __always_inline bool is_answerable(const struct upcall *entry, __u64 now)
{
	return now - entry->ns <= VMLAT_ANSWERED_WITHIN * settings.timeout_ns ||
	       is_waiting(flight_of(&entry->flight));
}

/*
 * Enter the flight under this content. False, with *outcome: it cannot be told from another one
 * that is up, or there is no room.
 */
static __noinline bool insert_upcall(const struct content *content,
				     const struct vmlat_flight *flight, __u32 *outcome)
{
	struct upcall entry = { .flight = ref_of(flight), .pending = 1 }, *other;

	entry.ns = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&upcalls, content, &entry, BPF_NOEXIST) == 0)
		return true;
	other = bpf_map_lookup_elem(&upcalls, content);
	if (other && !is_answerable(other, entry.ns)) {
		*other = entry; /* what it was for never came back */
		return true;
	}
	*outcome = other ? VMLAT_AMBIGUOUS : VMLAT_EVICTED;
	if (!other)
		return false;
	__sync_fetch_and_add(&other->pending, 1);
	other->ns = entry.ns;
	if (refers_to(&other->flight, flight))
		return true; /* parts of one packet need not be told apart */
	other->ambiguous = 1;
	return false;
}

enum { NO_SLOT = 0xffffffff };

/* The same of what has no record: whoever else has its content while it is up cannot be told from it. */
static __always_inline void insert_nobodys_upcall(const struct content *content)
{
	struct upcall entry = { .flight = { .slot = NO_SLOT }, .pending = 1 }, *other;

	entry.ns = bpf_ktime_get_ns();
	__sync_fetch_and_add(&orphans, 1);
	if (bpf_map_update_elem(&upcalls, content, &entry, BPF_NOEXIST) == 0)
		return;
	other = bpf_map_lookup_elem(&upcalls, content);
	if (!other)
		return;
	__sync_fetch_and_add(&other->pending, 1);
	other->ns = entry.ns;
	other->ambiguous = 1;
}

/* One packet of this content is not up any more. */
static __always_inline void release_upcall(const struct content *content, struct upcall *entry)
{
	__sync_fetch_and_add(&entry->pending, -1);
	if ((__s32)entry->pending <= 0)
		bpf_map_delete_elem(&upcalls, content);
}

static __always_inline void forget_content(const struct content *content)
{
	struct upcall *entry = bpf_map_lookup_elem(&upcalls, content);

	if (entry)
		release_upcall(content, entry);
}

/* A flight ends while it is up: what it has in upcalls stays, for an answer may come yet. */
static __always_inline void forget_upcall(struct vmlat_flight *flight)
{
	struct flight_slot *slot = slot_at(flight->slot);

	if (!slot)
		return;
	if (flight->place == VMLAT_PARTED)
		flight->segments_lost = flight->segments - (slot->parts.done - slot->parts.lost);
	__sync_fetch_and_add(&orphans, 1);
}

/* How many segments the packet is cut into on its way up. */
static __always_inline __u32 parts_of(const struct sk_buff *skb)
{
	__u32 size = gso_size(skb), header;
	struct segment key;

	header = size ? read_segment(skb, &key) : 0;
	return header ? (BPF_CORE_READ(skb, len) - header + size - 1) / size : 0;
}

/* Each of its segments is about to be queued (packet_is_queued). */
static __always_inline void flight_goes_up_in_parts(struct cpu_state *cpu,
						    struct vmlat_flight *flight,
						    struct flight_slot *slot, __u32 parts)
{
	__builtin_memset(&slot->parts, 0, sizeof(slot->parts));
	__builtin_memset(slot->cut, 0, sizeof(slot->cut));
	flight->segments = parts;
	flight->parted_at = flight->visits;
	flight->outcome = VMLAT_OUTCOME_COUNT;
	flight->place = VMLAT_PARTED;
	cpu->upcalled_parted = 1;
}

/* Between ovs_dp_upcall and its return, which says whether it was queued. */
static __always_inline void begin_upcall(struct cpu_state *cpu, const struct vmlat_flight *flight,
					 __u64 key)
{
	cpu->upcalling = key;
	cpu->upcalled = ref_of(flight);
	cpu->upcalled_parted = 0;
}

/* Out of its place, with a token for whoever ends it. False: it is over. */
static __always_inline bool leave_for_user_space(struct cpu_state *cpu, struct vmlat_flight *flight)
{
	if (!take_flight(cpu, flight))
		return false;
	give_slot_away(cpu, flight);
	if (insert_token(flight))
		return true;
	flight->outcome = VMLAT_EVICTED;
	finish_flight(flight->slot);
	return false;
}

/* From now on the flight is found by slot->content. */
static __always_inline void await_content(struct vmlat_flight *flight, struct flight_slot *slot)
{
	__u32 outcome = VMLAT_OUTCOME_COUNT;

	flight->place = VMLAT_UPCALLED;
	insert_upcall(&slot->content, flight, &outcome);
	flight->outcome = outcome;
}

static __noinline int flight_goes_up(struct cpu_state *cpu, struct vmlat_flight *flight,
				     const struct sk_buff *skb, __u32 in_port)
{
	struct flight_slot *slot = slot_at(flight->slot);
	__u32 parts = parts_of(skb);

	if (!slot || (parts < 2 && !read_content(SOFTIRQS_OFF, number_of(cpu, (__u64)skb), 0)))
		return 0; /* the skb's end will be all that is known */
	if (!leave_for_user_space(cpu, flight))
		return 0;
	begin_upcall(cpu, flight, key_of(skb));
	cpu->upcalled_port = in_port;
	if (parts > 1) {
		flight_goes_up_in_parts(cpu, flight, slot, parts);
		return 0;
	}
	cpu->scratch.content.in_port = in_port;
	slot->content = cpu->scratch.content;
	await_content(flight, slot); /* a twin ends at the return, which may say that it was lost */
	return 0;
}

/* An action's copy for user space, which is the packet itself if nothing else becomes of it. */
static __noinline int copy_goes_up(struct cpu_state *cpu, struct vmlat_flight *flight,
				   const struct sk_buff *skb, __u32 in_port)
{
	struct flight_slot *slot = slot_at(flight->slot);

	if (!slot || !read_content(SOFTIRQS_OFF, number_of(cpu, (__u64)skb), 0))
		return 0;
	cpu->scratch.content.in_port = in_port;
	slot->content = cpu->scratch.content;
	slot->sent_up_ns = bpf_ktime_get_ns();
	flight->sent_up = 1;
	begin_upcall(cpu, flight, key_of(skb));
	return 0;
}

/* The packet is consumed, and its copy is all that there is of it. */
static __noinline bool copy_is_the_packet(void *ctx, struct cpu_state *cpu,
					  struct vmlat_flight *flight)
{
	struct flight_slot *slot = slot_at(flight->slot);

	if (!slot || !leave_for_user_space(cpu, flight))
		return true;
	visit(ctx, cpu, flight, VMLAT_STAGE_UPCALL, VMLAT_HOOK_OVS_DP_UPCALL, slot->sent_up_ns);
	flight->upcalled = 1;
	await_content(flight, slot);
	if (flight->outcome != VMLAT_OUTCOME_COUNT)
		end_flight(flight->slot, flight->outcome, 0);
	return true;
}

/* A part goes up again, as a packet of its own content. */
static __noinline int part_goes_up(struct cpu_state *cpu, struct vmlat_flight *flight,
				   const struct sk_buff *skb, __u32 in_port)
{
	__u32 outcome = VMLAT_OUTCOME_COUNT;

	if (!read_content(SOFTIRQS_OFF, number_of(cpu, (__u64)skb), 0) ||
	    !remove_carrier(key_of(skb)))
		return 0;
	forget_head(ROLE_PART, skb);
	cpu->scratch.content.in_port = in_port;
	begin_upcall(cpu, flight, key_of(skb));
	if (!insert_upcall(&cpu->scratch.content, flight, &outcome))
		flight->outcome = outcome;
	return 0;
}

/* queue_userspace_packet: one segment of the packet that is going up. */
static __always_inline int packet_is_queued(const struct sk_buff *skb)
{
	__u32 outcome = VMLAT_OUTCOME_COUNT;
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;
	struct flight_slot *slot;

	if (!cpu->upcalling || !cpu->upcalled_parted)
		return 0;
	flight = flight_of(&cpu->upcalled);
	slot = slot_at(cpu->upcalled.slot);
	if (!flight || !slot || flight->place != VMLAT_PARTED ||
	    !read_content(SOFTIRQS_OFF, number_of(cpu, (__u64)skb), 0))
		return 0;
	cpu->scratch.content.in_port = cpu->upcalled_port;
	slot->parts.up++;
	if (!insert_upcall(&cpu->scratch.content, flight, &outcome))
		flight->outcome = outcome;
	return 0;
}

/* What became of the parts that left by this exit. 1: all of them have, and are completed. */
GLOBAL int close_parts(__u32 index, __u32 number)
{
	struct flight_slot *slot = slot_at(index);
	struct vmlat_exit *exit = slot ? exit_at(&slot->flight, number) : NULL;
	const struct cut *cut = exit ? cut_at(slot, number) : NULL;

	if (!cut || cut->done < slot->flight.segments)
		return 0;
	exit->segments = cut->done;
	exit->segments_lost = cut->lost;
	close_exit(exit,
		   cut->lost	   ? VMLAT_DROPPED
		   : cut->diverted ? VMLAT_DIVERTED
				   : VMLAT_COMPLETED,
		   exit->ns);
	return exit->outcome == VMLAT_COMPLETED;
}

/* Every part is done: completed, if all of them have by one of the exits. */
GLOBAL int finish_parts(__u32 index)
{
	struct flight_slot *slot = slot_at(index);
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;
	bool completed = false;

	if (!slot || !take_token(&slot->flight))
		return 0;
	flight = &slot->flight;
	for (__u32 i = 0; i < VMLAT_EXITS && i < flight->exits; i++)
		completed |= close_parts(index, i);
	flight->segments_lost = slot->parts.lost;
	if (flight->outcome == VMLAT_OUTCOME_COUNT)
		flight->outcome = completed	     ? VMLAT_COMPLETED
				  : slot->parts.lost ? VMLAT_DROPPED
						     : VMLAT_DIVERTED;
	if (flight->outcome == VMLAT_COMPLETED && flight->direction == VMLAT_RX)
		count_traffic(cpu->driving_interface, VMLAT_RX, flight->length);
	return finish_flight(flight->slot);
}

static __always_inline void count_part(struct flight_slot *slot, __u32 exit,
				       enum vmlat_outcome outcome)
{
	struct cut *cut = cut_at(slot, exit);

	if (!cut)
		return;
	if (outcome == VMLAT_DIVERTED)
		__sync_fetch_and_add(&cut->diverted, 1);
	else if (outcome != VMLAT_COMPLETED)
		__sync_fetch_and_add(&cut->lost, 1);
	__sync_fetch_and_add(&cut->done, 1);
}

/* One part, or a copy of one, is done, by this exit if any; the last ends the flight. */
GLOBAL int part_done(__u32 index, __u32 role, __u32 exit, __u32 outcome)
{
	struct flight_slot *slot = slot_at(index);

	if (!slot || slot->flight.place != VMLAT_PARTED)
		return 0;
	count_part(slot, exit, outcome);
	if (role == ROLE_PART_COPY) {
		__sync_fetch_and_add(&slot->parts.copies_done, 1);
	} else {
		if (outcome != VMLAT_COMPLETED && outcome != VMLAT_DIVERTED)
			__sync_fetch_and_add(&slot->parts.lost, 1);
		__sync_fetch_and_add(&slot->parts.done, 1);
	}
	if (outcome != VMLAT_COMPLETED)
		slot->flight.last_ns = bpf_ktime_get_ns();
	if (slot->parts.done < slot->flight.segments ||
	    slot->parts.copies_done < slot->parts.copies)
		return 0;
	return finish_parts(index);
}

/* With an error the last of the segments was not queued, and those behind it were not tried. */
static __always_inline int parts_are_queued(struct cpu_state *cpu, struct vmlat_flight *flight,
					    long error)
{
	struct flight_slot *slot = slot_at(flight->slot);
	__u32 lost;

	if (!slot || (!slot->parts.up && error >= 0))
		return 0;
	if (error < 0) {
		if (slot->parts.up) {
			slot->parts.up--;
			forget_content(&cpu->scratch.content);
		}
		lost = flight->segments - slot->parts.up;
		flight->last_ns = bpf_ktime_get_ns();
		flight->outcome = VMLAT_UPCALL_LOST;
		__sync_fetch_and_add(&slot->parts.lost, lost);
		__sync_fetch_and_add(&slot->parts.done, lost);
	} else {
		flight->segments = slot->parts.up;
	}
	return slot->parts.done < flight->segments ? 0 : finish_parts(flight->slot);
}

/* ovs_dp_upcall returns: an error, and the kernel could not queue it. */
static __always_inline int upcall_returned(long error)
{
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight;

	if (!cpu->upcalling)
		return 0;
	cpu->upcalling = 0;
	flight = flight_of(&cpu->upcalled);
	if (!flight && error < 0 && cpu->upcalled.slot == NO_SLOT)
		forget_content(&cpu->scratch.content);
	if (!flight)
		return 0;
	if (flight->place == VMLAT_PARTED && cpu->upcalled_parted)
		return parts_are_queued(cpu, flight, error);
	if (flight->place == VMLAT_PARTED) {
		if (error >= 0)
			return 0;
		forget_content(&cpu->scratch.content);
		return part_done(flight->slot, ROLE_PART, VMLAT_EXITS, VMLAT_UPCALL_LOST);
	}
	if (error < 0)
		flight->sent_up = 0;
	if (flight->place != VMLAT_UPCALLED ||
	    (error >= 0 && flight->outcome == VMLAT_OUTCOME_COUNT))
		return 0;
	if (error < 0)
		forget_content(&cpu->scratch.content);
	return end_flight(flight->slot, error < 0 ? VMLAT_UPCALL_LOST : flight->outcome,
			  bpf_ktime_get_ns());
}

/* --- and back --- */

/* What a content says of the packet that has come back with it. */
enum answer { ANSWER_UNKNOWN, ANSWER_LATE, ANSWER_KNOWN };

/*
 * The flight that this content brings back, or NULL. With twins nobody knows which of them it
 * is: the one that has a record ends as ambiguous, the entry stays until each of them has come.
 */
static __always_inline struct vmlat_flight *flight_comes_back(const struct content *content,
							      enum answer *answer)
{
	struct upcall *entry = bpf_map_lookup_elem(&upcalls, content);
	struct vmlat_flight *flight;
	bool ambiguous;

	if (!entry)
		return NULL;
	flight = flight_of(&entry->flight);
	ambiguous = entry->ambiguous;
	release_upcall(content, entry);
	if (!is_waiting(flight)) {
		*answer = ambiguous ? ANSWER_KNOWN : ANSWER_LATE;
		return NULL;
	}
	*answer = ANSWER_KNOWN;
	if (!ambiguous)
		return flight;
	end_flight(flight->slot, VMLAT_AMBIGUOUS, 0);
	return NULL;
}

static __always_inline void part_comes_back(void *ctx, struct cpu_state *cpu,
					    struct vmlat_flight *flight, __u64 key, __u64 head,
					    __u64 now)
{
	visit_as(ctx, cpu, flight, ROLE_PART, VMLAT_STAGE_REINJECT,
		 VMLAT_HOOK_OVS_FLOW_KEY_EXTRACT_USERSPACE, now);
	flight->undirected = 1;
	if (!insert_carrier(key, flight, ROLE_PART)) {
		evict_stale(number_in_thread(cpu, key));
		insert_carrier(key, flight, ROLE_PART);
	}
	insert_carrier(head, flight, ROLE_HEAD);
}

/* Any CPU may meet it next: the thread that brings it is not bound to this one. */
static __always_inline void original_comes_back(void *ctx, struct cpu_state *cpu,
						struct vmlat_flight *flight,
						const struct sk_buff *skb, __u64 now)
{
	if (!take_flight(cpu, flight))
		return;
	flight->carrier = key_of(skb);
	flight->head = (__u64)BPF_CORE_READ(skb, head);
	visit(ctx, cpu, flight, VMLAT_STAGE_REINJECT, VMLAT_HOOK_OVS_FLOW_KEY_EXTRACT_USERSPACE,
	      now);
	flight->undirected = 1;
	flight->place = VMLAT_ON_CPU;
	publish_flight(flight->slot);
	if (flight->place == VMLAT_PUBLISHED)
		flight->by_head = insert_carrier(flight->head, flight, ROLE_HEAD);
}

static __always_inline int packet_reinjected(void *ctx, const struct nlattr *key,
					     const struct sk_buff *skb)
{
	struct vmlat_flight *flight = NULL;
	__u64 now = bpf_ktime_get_ns();
	struct cpu_state *cpu = this_cpu();
	struct scratch *scratch;
	enum answer answer = ANSWER_UNKNOWN;
	__u16 in_port;

	scratch = scratch_of(cpu, THREAD);
	in_port = port_attribute(key);
	for (int headers_only = 0; headers_only < 2 && answer == ANSWER_UNKNOWN; headers_only++) {
		if (!read_content(THREAD, number_in_thread(cpu, (__u64)skb), headers_only))
			return 0;
		scratch->content.in_port = in_port;
		flight = flight_comes_back(&scratch->content, &answer);
	}
	if (!samples_all() && !scratch->flow.family)
		know_by_mac(&scratch->flow, scratch->content.mac);
	if (answer != ANSWER_KNOWN && settings.armed == VMLAT_ARMED &&
	    choose_flow(&settings.filter, &scratch->flow) == VMLAT_PASSED)
		cpu->count.unstarted++;
	if (!flight)
		return 0;
	if (flight->place == VMLAT_PARTED)
		part_comes_back(ctx, cpu, flight, key_of(skb), (__u64)BPF_CORE_READ(skb, head),
				now);
	else
		original_comes_back(ctx, cpu, flight, skb, now);
	return 0;
}

/*
 * The same where no hook tells of it: with the first that the packet comes to behind that, if no
 * action has changed it by then. Softirqs are off there.
 */
GLOBAL int comes_back_untold(__u64 address)
{
	struct cpu_state *cpu = this_cpu();
	struct vmlat_flight *flight = NULL;
	enum answer answer = ANSWER_UNKNOWN;
	__u64 head;

	for (int headers_only = 0; headers_only < 2 && answer == ANSWER_UNKNOWN; headers_only++) {
		if (!read_content(SOFTIRQS_OFF, address, headers_only))
			return 0;
		flight = flight_comes_back(&cpu->scratch.content, &answer);
	}
	if (!flight)
		return 0;
	head = (__u64)BPF_CORE_READ((const struct sk_buff *)address, head);
	if (flight->place == VMLAT_PARTED) {
		evict_stale(address);
		insert_carrier(address, flight, ROLE_PART);
		insert_carrier(head, flight, ROLE_HEAD);
	} else if (take_flight(cpu, flight)) {
		flight->carrier = address;
		flight->head = head;
		adopt_flight(cpu, flight);
	}
	flight->undirected = 1;
	return 1;
}

/* The flight of an skb that is of none yet, and has come back untold; or NULL. */
static __always_inline struct vmlat_flight *returned_flight(struct cpu_state *cpu,
							    const struct sk_buff *skb, __u32 *role)
{
	return comes_back_untold(number_of(cpu, key_of(skb))) ? find_flight(cpu, key_of(skb), role)
							      : NULL;
}

#endif
