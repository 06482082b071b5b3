/* SPDX-License-Identifier: GPL-2.0 */
/* What a format writes of a sample, kept in sample->text, without a kernel behind it. */
#ifndef VMLAT_UNIT_WRITTEN_H
#define VMLAT_UNIT_WRITTEN_H

#include "sample.h"

const struct hook_choice *tracer__hook(const struct tracer *tracer, enum vmlat_hook hook)
{
	return &tracer->hooks[hook];
}

size_t tracer__stack(const struct tracer *tracer, __s32 id, __u64 *addresses, size_t room)
{
	size_t count = 0;

	while (id == 7 && count < ARRAY_SIZE(tracer->stack) && count < room &&
	       tracer->stack[count]) {
		addresses[count] = tracer->stack[count];
		count++;
	}
	return count;
}

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
	struct accounts accounts = { .written = 900, .missed = 6, .missed_known = true };

	accounts.counters.started = 1000;
	for (int i = 0; i < VMLAT_OUTCOME_COUNT; i++)
		accounts.counters.outcomes[i] = 11 + i;
	accounts.counters.lost = 5;
	accounts.counters.unstarted = 31;
	accounts.counters.malformed = 32;
	accounts.counters.truncated = 33;
	accounts.counters.given = 57;
	accounts.counters.delivered = 50;
	accounts.counters.seen_tap = 52;
	return accounts;
}

/* Two places, one known by its code address and reason, one by the last hook alone. */
static struct drop_count sample_drops[] = {
	{ { .location = 0xffffffffc0300010,
	    .reason = 71,
	    .has_reason = 1,
	    .hook = VMLAT_HOOK_OVS_VPORT_SEND },
	  9 },
	{ { .hook = VMLAT_HOOK_OVS_DP_PROCESS_PACKET }, 3 },
};

/* By device: TX, RX. */
static struct vmlat_traffic sample_traffic[16 * 2];

#endif
