// SPDX-License-Identifier: GPL-2.0
#include "flows.h"

#include <stdlib.h>
#include <string.h>

struct flows {
	struct flow *all;
	size_t count;
	size_t room;
	__u32 *place; /* by hash, then the next ones: index in `all` + 1; 0: free */
	size_t mask; /* of place's indexes */
	bool by_bytes;
	struct other_flows pushed_out;
};

struct flows *flows__new(size_t room, bool by_bytes)
{
	struct flows *flows = calloc(1, sizeof(*flows));

	if (!flows)
		return NULL;
	flows->room = room;
	flows->by_bytes = by_bytes;
	for (flows->mask = 1; flows->mask < 2 * room;)
		flows->mask *= 2;
	flows->place = calloc(flows->mask, sizeof(*flows->place));
	flows->mask--;
	flows->all = calloc(room, sizeof(*flows->all));
	if (flows->all && flows->place)
		return flows;
	flows__free(flows);
	return NULL;
}

void flows__free(struct flows *flows)
{
	if (!flows)
		return;
	free(flows->all);
	free(flows->place);
	free(flows);
}

/* FNV-1a. */
static size_t hash(const struct vmlat_flow_key *key)
{
	const unsigned char *bytes = (const unsigned char *)key;
	__u64 hash = 0xcbf29ce484222325;

	for (size_t i = 0; i < sizeof(*key); i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3;
	return hash ^ hash >> 32;
}

/* Where the flow's index is, or has to go. */
static __u32 *find_place(const struct flows *flows, const struct vmlat_flow_key *key)
{
	size_t at = hash(key) & flows->mask;

	while (flows->place[at] &&
	       memcmp(&flows->all[flows->place[at] - 1].key, key, sizeof(*key)) != 0)
		at = (at + 1) & flows->mask;
	return &flows->place[at];
}

static void find_places(struct flows *flows)
{
	memset(flows->place, 0, (flows->mask + 1) * sizeof(*flows->place));
	for (size_t i = 0; i < flows->count; i++)
		*find_place(flows, &flows->all[i].key) = i + 1;
}

static int more_first(__u64 a, __u64 b)
{
	return a > b ? -1 : a < b;
}

static int by_packets(const void *a, const void *b)
{
	const struct flow *left = a, *right = b;
	int order = more_first(left->counted.packets, right->counted.packets);

	if (!order)
		order = more_first(left->counted.bytes, right->counted.bytes);
	return order ? order : memcmp(&left->key, &right->key, sizeof(left->key));
}

static int by_bytes(const void *a, const void *b)
{
	const struct flow *left = a, *right = b;
	int order = more_first(left->counted.bytes, right->counted.bytes);

	return order ? order : by_packets(a, b);
}

static void sort(struct flows *flows)
{
	qsort(flows->all, flows->count, sizeof(*flows->all),
	      flows->by_bytes ? by_bytes : by_packets);
	find_places(flows);
}

static void add_other(struct other_flows *others, const struct flow *flow)
{
	others->flows++;
	others->packets += flow->counted.packets;
	others->bytes += flow->counted.bytes;
}

static void push_out(struct flows *flows)
{
	sort(flows);
	while (flows->count > flows->room / 2)
		add_other(&flows->pushed_out, &flows->all[--flows->count]);
	find_places(flows);
}

static void add(struct vmlat_flow_count *sum, const struct vmlat_flow_count *counted)
{
	sum->packets += counted->packets;
	sum->bytes += counted->bytes;
	sum->sum_ns += counted->sum_ns;
	if (counted->max_ns > sum->max_ns)
		sum->max_ns = counted->max_ns;
}

void flows__add(struct flows *flows, const struct vmlat_flow_key *key,
		const struct vmlat_flow_count *counted)
{
	__u32 *place = find_place(flows, key);

	if (*place) {
		add(&flows->all[*place - 1].counted, counted);
		return;
	}
	if (flows->count == flows->room) {
		push_out(flows);
		place = find_place(flows, key);
	}
	flows->all[flows->count++] = (struct flow){ *key, *counted };
	*place = flows->count;
}

void flows__merge(struct flows *flows, const struct flows *other)
{
	for (size_t i = 0; i < other->count; i++)
		flows__add(flows, &other->all[i].key, &other->all[i].counted);
	flows->pushed_out.flows += other->pushed_out.flows;
	flows->pushed_out.packets += other->pushed_out.packets;
	flows->pushed_out.bytes += other->pushed_out.bytes;
}

void flows__clear(struct flows *flows)
{
	flows->count = 0;
	memset(&flows->pushed_out, 0, sizeof(flows->pushed_out));
	find_places(flows);
}

size_t flows__sorted(struct flows *flows, const struct flow **sorted)
{
	sort(flows);
	*sorted = flows->all;
	return flows->count;
}

struct other_flows flows__others(const struct flows *flows, size_t told)
{
	struct other_flows others = flows->pushed_out;

	for (size_t i = told; i < flows->count; i++)
		add_other(&others, &flows->all[i]);
	return others;
}

__u64 flow__mean(const struct flow *flow)
{
	return flow->counted.packets ? flow->counted.sum_ns / flow->counted.packets : 0;
}

struct vmlat_flow flow__headers(const struct flow *flow)
{
	const struct vmlat_flow_key *key = &flow->key;
	struct vmlat_flow headers = { .src_port = key->src_port,
				      .dst_port = key->dst_port,
				      .family = key->family,
				      .protocol = key->protocol,
				      .has_ports = key->has_ports };

	memcpy(headers.src, key->src, sizeof(headers.src));
	memcpy(headers.dst, key->dst, sizeof(headers.dst));
	return headers;
}
