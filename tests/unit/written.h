/* SPDX-License-Identifier: GPL-2.0 */
/* What a format writes of a sample, kept in sample->text, without a kernel behind it. */
#ifndef VMLAT_UNIT_WRITTEN_H
#define VMLAT_UNIT_WRITTEN_H

#include "sample.h"

const struct hook_choice *tracer__hook(const struct tracer *tracer, enum vmlat_hook hook)
{
	return &tracer->hooks[hook];
}

int tracer__traffic(const struct tracer *tracer, size_t device, int direction,
		    struct vmlat_traffic *traffic)
{
	*traffic = tracer->traffic[device][direction];
	return 0;
}

void tracer__drops(const struct tracer *tracer,
		   void (*handler)(void *context, const struct vmlat_drop *drop, __u64 count),
		   void *context)
{
	for (size_t i = 0; i < ARRAY_SIZE(tracer->drop); i++)
		if (tracer->drop_count[i])
			handler(context, &tracer->drop[i], tracer->drop_count[i]);
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
				      const struct summary *summary)
{
	size_t size;

	open_text(sample, &size);
	format->end(&sample->context, summary, &sample_time);
	fclose(sample->context.out);
	return sample->text;
}

/* Each term of the accounting another number: 1000 started, 11 completed, 12 dropped, … */
static inline struct summary sample_summary(void)
{
	struct summary summary = { .written = 900, .missed = 6, .missed_known = true };

	summary.counters.started = 1000;
	for (int i = 0; i < VMLAT_OUTCOME_COUNT; i++)
		summary.counters.outcomes[i] = 11 + i;
	summary.counters.lost = 5;
	summary.counters.unstarted = 31;
	summary.counters.malformed = 32;
	summary.counters.truncated = 33;
	summary.counters.given = 57;
	summary.counters.delivered = 50;
	summary.counters.seen_tap = 52;
	return summary;
}

/* Two places, one known by its code address and reason, one by the last hook alone. */
static inline void add_drops(struct tracer *tracer)
{
	tracer->drop[0] = (struct vmlat_drop){
		.location = 0xffffffffc0300010,
		.reason = 71,
		.has_reason = 1,
		.hook = VMLAT_HOOK_OVS_VPORT_SEND,
	};
	tracer->drop_count[0] = 9;
	tracer->drop[1] = (struct vmlat_drop){ .hook = VMLAT_HOOK_OVS_DP_PROCESS_PACKET };
	tracer->drop_count[1] = 3;
}

#endif
