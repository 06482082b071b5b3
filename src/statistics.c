// SPDX-License-Identifier: GPL-2.0
#include "statistics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- distributions --- */

static void add_range(struct distribution *times, __u64 count, __u64 sum, __u64 min, __u64 max)
{
	if (!count)
		return;
	if (!times->count || min < times->min)
		times->min = min;
	if (max > times->max)
		times->max = max;
	times->count += count;
	times->sum += sum;
}

static void merge_distribution(struct distribution *times, const struct distribution *other)
{
	add_range(times, other->count, other->sum, other->min, other->max);
	for (int i = 0; i < VMLAT_BUCKETS; i++)
		times->bucket[i] += other->bucket[i];
}

__u64 distribution__mean(const struct distribution *times)
{
	return times->count ? times->sum / times->count : 0;
}

/* Which of the times in order, from 1. */
static __u64 nearest_rank(__u64 count, unsigned int permille)
{
	__u64 rank = count / 1000 * permille + (count % 1000 * permille + 999) / 1000;

	return rank ? rank : 1;
}

static unsigned int bucket_of_rank(const struct distribution *times, __u64 rank)
{
	__u64 seen = 0;

	for (unsigned int i = 0; i < VMLAT_BUCKETS; i++) {
		seen += times->bucket[i];
		if (seen >= rank)
			return i;
	}
	return VMLAT_BUCKETS - 1;
}

__u64 distribution__percentile(const struct distribution *times, unsigned int permille)
{
	__u64 rank = nearest_rank(times->count, permille), value;

	if (!times->count)
		return 0;
	if (rank == 1)
		return times->min;
	if (rank == times->count)
		return times->max;
	value = vmlat_bucket_value(bucket_of_rank(times, rank));
	if (value < times->min)
		return times->min;
	return value > times->max ? times->max : value;
}

/* --- rows --- */

static struct row *find_row(struct statistics *statistics, enum vmlat_direction direction,
			    const char *vm_interface, const char *vm)
{
	for (size_t i = 0; i < statistics->count; i++) {
		struct row *row = &statistics->rows[i];

		if (row->direction == direction && !strcmp(row->vm_interface, vm_interface) &&
		    !strcmp(row->vm, vm))
			return row;
	}
	return NULL;
}

/* NULL: no memory. */
static struct row *get_row(struct statistics *statistics, enum vmlat_direction direction,
			   const char *vm_interface, const char *vm)
{
	struct row *row = find_row(statistics, direction, vm_interface, vm), *rows;

	if (row)
		return row;
	rows = reallocarray(statistics->rows, statistics->count + 1, sizeof(*rows));
	if (!rows)
		return NULL;
	statistics->rows = rows;
	row = &rows[statistics->count++];
	memset(row, 0, sizeof(*row));
	row->direction = direction;
	snprintf(row->vm_interface, sizeof(row->vm_interface), "%s", vm_interface);
	snprintf(row->vm, sizeof(row->vm), "%s", vm);
	return row;
}

/* As a packet comes to them. */
static const enum vmlat_stage stages[] = {
	VMLAT_STAGE_TAP_IN,	    VMLAT_STAGE_NIC,	    VMLAT_STAGE_BRIDGE_IN,
	VMLAT_STAGE_BRIDGE_FORWARD, VMLAT_STAGE_BRIDGE_OUT, VMLAT_STAGE_OVS_IN,
	VMLAT_STAGE_DATAPATH,	    VMLAT_STAGE_UPCALL,	    VMLAT_STAGE_REINJECT,
	VMLAT_STAGE_VPORT,	    VMLAT_STAGE_XMIT,	    VMLAT_STAGE_TAP_OUT,
	VMLAT_STAGE_DRIVER,
};

_Static_assert(sizeof(stages) / sizeof(*stages) == VMLAT_STAGE_COUNT, "each stage has its place");

static int place_of(enum vmlat_stage stage)
{
	for (int i = 0; i < VMLAT_STAGE_COUNT; i++)
		if (stages[i] == stage)
			return i;
	return VMLAT_STAGE_COUNT;
}

static int order(int pair)
{
	if (pair == VMLAT_TOTAL)
		return VMLAT_TOTAL;
	return vmlat_pair(place_of(pair / VMLAT_STAGES_MAX), place_of(pair % VMLAT_STAGES_MAX));
}

static int pair_of(const struct segment *segment)
{
	return segment->total ? VMLAT_TOTAL : vmlat_pair(segment->from, segment->to);
}

/* A zeroed one if there was none, in its place; NULL: no memory. */
static struct segment *get_segment(struct row *row, int pair)
{
	struct segment *segments;
	size_t at = 0;

	while (at < row->count && order(pair_of(&row->segments[at])) < order(pair))
		at++;
	if (at < row->count && pair_of(&row->segments[at]) == pair)
		return &row->segments[at];
	segments = reallocarray(row->segments, row->count + 1, sizeof(*segments));
	if (!segments)
		return NULL;
	row->segments = segments;
	memmove(&segments[at + 1], &segments[at], (row->count++ - at) * sizeof(*segments));
	memset(&segments[at], 0, sizeof(*segments));
	segments[at].total = pair == VMLAT_TOTAL;
	segments[at].from = pair / VMLAT_STAGES_MAX;
	segments[at].to = pair % VMLAT_STAGES_MAX;
	return &segments[at];
}

int statistics__add(struct statistics *statistics, const struct device *tap, unsigned int pair,
		    const struct vmlat_distribution *times)
{
	bool rx = pair >= VMLAT_PAIRS / 2;
	struct row *row = get_row(statistics, rx ? VMLAT_RX : VMLAT_TX, tap->name, tap->vm);
	struct segment *segment = row ? get_segment(row, pair % (VMLAT_PAIRS / 2)) : NULL;

	if (!segment)
		return -ENOMEM;
	for (int i = 0; i < VMLAT_BUCKETS; i++)
		segment->times.bucket[i] += times->bucket[i];
	add_range(&segment->times, vmlat_times(times), times->sum, times->min, times->max);
	return 0;
}

const struct segment *row__total(const struct row *row)
{
	const struct segment *last = row->count ? &row->segments[row->count - 1] : NULL;

	return last && last->total ? last : NULL;
}

/* --- exemplars --- */

static __u64 total_of(const struct vmlat_flight *flight)
{
	return flight->last_ns - flight->begin_ns;
}

static unsigned int bucket_of(const struct vmlat_flight *flight)
{
	return vmlat_bucket(total_of(flight));
}

/* The place of this bucket's, or where it would go: the slowest are first. */
static size_t place_in(const struct row *row, unsigned int bucket)
{
	size_t low = 0, high = row->exemplar_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (bucket_of(row->exemplars[middle]) > bucket)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool has_bucket(const struct row *row, size_t at, unsigned int bucket)
{
	return at < row->exemplar_count && bucket_of(row->exemplars[at]) == bucket;
}

static struct vmlat_flight *copy_of(const struct vmlat_flight *flight)
{
	size_t size = vmlat_flight_size(flight->visits);
	struct vmlat_flight *copy = malloc(size);

	return copy ? memcpy(copy, flight, size) : NULL;
}

/* Makes room for one there. 0 or -ENOMEM. */
static int make_room(struct row *row, size_t at)
{
	struct vmlat_flight **exemplars = reallocarray(row->exemplars, row->exemplar_count + 1,
						       sizeof(struct vmlat_flight *));

	if (!exemplars)
		return -ENOMEM;
	row->exemplars = exemplars;
	for (size_t i = row->exemplar_count++; i > at; i--)
		exemplars[i] = exemplars[i - 1];
	exemplars[at] = NULL;
	return 0;
}

/*
 * One of each bucket, since the p99 may come to be in any: however many are slower, and however much
 * slower they are.
 */
static int add_to_row(struct row *row, const struct vmlat_flight *flight)
{
	unsigned int bucket = bucket_of(flight);
	size_t at = place_in(row, bucket);
	bool known = has_bucket(row, at, bucket);
	struct vmlat_flight *copy;

	if (known && total_of(row->exemplars[at]) >= total_of(flight))
		return 0;
	copy = copy_of(flight);
	if (!copy || (!known && make_room(row, at))) {
		free(copy);
		return -ENOMEM;
	}
	free(row->exemplars[at]);
	row->exemplars[at] = copy;
	return 0;
}

int statistics__add_exemplar(struct statistics *statistics, const struct device *tap,
			     const struct vmlat_flight *flight)
{
	struct row *row = get_row(statistics, flight->direction, tap->name, tap->vm);

	return row ? add_to_row(row, flight) : -ENOMEM;
}

static void free_exemplars(struct row *row)
{
	while (row->exemplar_count)
		free(row->exemplars[--row->exemplar_count]);
	free(row->exemplars);
	row->exemplars = NULL;
}

int statistics__move_exemplars(struct statistics *statistics, struct row *from)
{
	struct row *row = get_row(statistics, from->direction, from->vm_interface, from->vm);
	int error = row ? 0 : -ENOMEM;

	for (size_t i = 0; i < from->exemplar_count && !error; i++)
		error = add_to_row(row, from->exemplars[i]);
	free_exemplars(from);
	return error;
}

const struct vmlat_flight *row__exemplar(const struct row *row, unsigned int permille)
{
	const struct segment *total = row__total(row);
	const struct vmlat_flight *closest = NULL;
	unsigned int bucket;

	if (!total)
		return NULL;
	bucket = bucket_of_rank(&total->times, nearest_rank(total->times.count, permille));
	for (size_t i = 0; i < row->exemplar_count; i++)
		if (vmlat_bucket(total_of(row->exemplars[i])) >= bucket)
			closest = row->exemplars[i];
	return closest;
}

/* --- all of them --- */

static int merge_row(struct row *row, const struct row *other)
{
	int error = 0;

	for (size_t i = 0; i < other->count; i++) {
		struct segment *segment = get_segment(row, pair_of(&other->segments[i]));

		if (!segment)
			return -ENOMEM;
		merge_distribution(&segment->times, &other->segments[i].times);
	}
	for (size_t i = 0; i < other->exemplar_count && !error; i++)
		error = add_to_row(row, other->exemplars[i]);
	return error;
}

int statistics__merge(struct statistics *statistics, const struct statistics *other)
{
	int error = 0;

	for (size_t i = 0; i < other->count && !error; i++) {
		const struct row *from = &other->rows[i];
		struct row *row =
			get_row(statistics, from->direction, from->vm_interface, from->vm);

		error = row ? merge_row(row, from) : -ENOMEM;
	}
	statistics->unkept += other->unkept;
	return error;
}

/* Of all the taps with this name, one after the other; NULL: of none or several, or it is unknown. */
static const char *vm_of(const struct devices *devices, const char *tap)
{
	const char *vm = NULL;

	for (size_t i = 0; i < devices->count; i++) {
		const struct device *device = &devices->all[i];

		if (!device->tap || strcmp(device->name, tap) != 0)
			continue;
		if (!device->vm[0] || (vm && strcmp(vm, device->vm) != 0))
			return NULL;
		vm = device->vm;
	}
	return vm;
}

static void free_row(struct row *row)
{
	free_exemplars(row);
	free(row->segments);
}

/* Gives the row the name, or what it has to the row that has it. `*row` is another one then. */
static int name_row(struct statistics *statistics, struct row *row, const char *vm)
{
	struct row *named = find_row(statistics, row->direction, row->vm_interface, vm);
	int error;

	if (!named) {
		snprintf(row->vm, sizeof(row->vm), "%s", vm);
		return 0;
	}
	error = merge_row(named, row);
	if (error)
		return error;
	free_row(row);
	*row = statistics->rows[--statistics->count];
	return 0;
}

int statistics__name_vms(struct statistics *statistics, const struct devices *devices)
{
	int error = 0;

	for (size_t i = statistics->count; i-- > 0 && !error;) {
		struct row *row = &statistics->rows[i];
		const char *vm = row->vm[0] ? NULL : vm_of(devices, row->vm_interface);

		if (vm)
			error = name_row(statistics, row, vm);
	}
	return error;
}

/* A tap of no known VM has a row of its own. */
int statistics__by_vm(const struct statistics *statistics, struct statistics *by_vm)
{
	int error = 0;

	for (size_t i = 0; i < statistics->count && !error; i++) {
		const struct row *from = &statistics->rows[i];
		struct row *row = get_row(by_vm, from->direction,
					  from->vm[0] ? "" : from->vm_interface, from->vm);

		error = row ? merge_row(row, from) : -ENOMEM;
	}
	by_vm->unkept = statistics->unkept;
	return error;
}

static __u64 worst(const struct row *row)
{
	const struct segment *total = row__total(row);

	return total ? distribution__percentile(&total->times, 990) : 0;
}

static int compare_rows(const void *a, const void *b)
{
	const struct row *left = a, *right = b;
	__u64 left_ns = worst(left), right_ns = worst(right);
	int names;

	if (left_ns != right_ns)
		return left_ns > right_ns ? -1 : 1;
	names = strcmp(left->vm, right->vm);
	if (!names)
		names = strcmp(left->vm_interface, right->vm_interface);
	return names ? names : (int)left->direction - (int)right->direction;
}

void statistics__sort(struct statistics *statistics)
{
	if (statistics->count)
		qsort(statistics->rows, statistics->count, sizeof(*statistics->rows), compare_rows);
}

void statistics__free(struct statistics *statistics)
{
	for (size_t i = 0; i < statistics->count; i++)
		free_row(&statistics->rows[i]);
	free(statistics->rows);
	memset(statistics, 0, sizeof(*statistics));
}
