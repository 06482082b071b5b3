/* SPDX-License-Identifier: GPL-2.0 */
/* What a format writes of a sample, kept in sample->text, without a kernel behind it. */
#ifndef VMLAT_UNIT_WRITTEN_H
#define VMLAT_UNIT_WRITTEN_H

#include "sample.h"

static inline void open_text(struct sample *sample, size_t *size)
{
	free(sample->text);
	sample->context.out = open_memstream(&sample->text, size);
	assert_non_null(sample->context.out);
}

static inline const char *packet_written(struct sample *sample, const struct format_ops *format)
{
	struct report report;
	size_t size;

	open_text(sample, &size);
	report__describe(&sample->context, &sample->flight, &report);
	format->packet(&sample->context, &report);
	fclose(sample->context.out);
	return sample->text;
}

static inline const char *header_written(struct sample *sample, const struct format_ops *format)
{
	size_t size;

	open_text(sample, &size);
	format->header(&sample->context, &sample_time);
	fclose(sample->context.out);
	return sample->text;
}

static inline const char *end_written(struct sample *sample, const struct format_ops *format,
				      const struct accounts *accounts)
{
	size_t size;

	open_text(sample, &size);
	format->end(&sample->context, accounts, &sample_time);
	fclose(sample->context.out);
	return sample->text;
}

/* Each term of the accounting another number: 1000 started, 11 completed, 12 dropped, … */
static inline struct accounts sample_accounts(void)
{
	struct accounts accounts = {
		.written = 900, .missed = 6, .missed_known = true, .unkept = 44, .in_flight = 887
	};

	accounts.counters.started = 1000;
	for (int i = 0; i < VMLAT_OUTCOME_COUNT; i++)
		accounts.counters.outcomes[i] = 11 + i;
	accounts.counters.lost = 5;
	accounts.counters.unstarted = 31;
	accounts.counters.malformed = 32;
	accounts.counters.truncated = 33;
	accounts.counters.stacks_lost = 41;
	accounts.counters.drops_lost = 42;
	accounts.counters.uncounted = 43;
	accounts.counters.flows_lost = 45;
	accounts.counters.given = 57;
	accounts.counters.delivered = 50;
	accounts.counters.seen_tap = 52;
	return accounts;
}

/* Two places, one known by its code address and reason, one by the last hook alone. */
static inline void add_drops(struct accounts *accounts)
{
	static struct drop_count drops[] = {
		{ { .location = 0xffffffffc0300010,
		    .reason = 71,
		    .has_reason = 1,
		    .hook = VMLAT_HOOK_OVS_VPORT_SEND },
		  9 },
		{ { .hook = VMLAT_HOOK_OVS_DP_PROCESS_PACKET }, 3 },
	};

	accounts->drops = drops;
	accounts->drop_count = ARRAY_SIZE(drops);
}

/* That of the sample. */
static inline void add_traffic(struct accounts *accounts, struct sample *sample)
{
	accounts->traffic = sample->traffic[0];
	accounts->devices = sample->devices.count;
}

#endif
