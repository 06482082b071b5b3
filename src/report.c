// SPDX-License-Identifier: GPL-2.0
#include "report.h"

#include <netinet/in.h>
#include <string.h>

#include "address.h"

static const char *const outcome_names[] = {
#define X(id, name) name,
	VMLAT_OUTCOMES(X)
#undef X
};

const char *outcome_name(enum vmlat_outcome outcome)
{
	return outcome < VMLAT_OUTCOME_COUNT ? outcome_names[outcome] : "unknown";
}

/* The exit that the report is about: one that completed, else the first. */
static const struct vmlat_exit *main_exit(const struct vmlat_flight *flight)
{
	for (int i = 0; i < flight->exits; i++)
		if (flight->exit[i].closed && flight->exit[i].outcome == VMLAT_COMPLETED)
			return &flight->exit[i];
	return flight->exits ? &flight->exit[0] : NULL;
}

/* An entry that is of another time of the same device has, perhaps, another VM. */
static const struct device *device_at(const struct report_context *context, size_t index,
				      const struct vmlat_device *id)
{
	const struct devices *devices = context->devices;

	if (index < devices->count && devices->all[index].id.ifindex == id->ifindex &&
	    devices->all[index].id.netns == id->netns)
		return &devices->all[index];
	return devices__by_id(devices, id);
}

void report__describe(const struct report_context *context, const struct vmlat_flight *flight,
		      struct report *report)
{
	const struct vmlat_exit *exit = main_exit(flight);
	const struct device *start = device_at(context, flight->interface, &flight->start);
	const struct device *end = exit ? device_at(context, exit->interface, &exit->device) : NULL;

	report->flight = flight;
	report->exemplar = report->phy = NULL;
	report->tap = report->peer = NULL;
	report->total_ns = flight->last_ns - flight->begin_ns;
	if (flight->direction == VMLAT_RX && start && start->tap) {
		report->peer = start;
		report->tap = end && end->tap ? end : NULL;
		return;
	}
	if (flight->direction == VMLAT_RX) {
		report->phy = devices__name(context->devices, &flight->start, report->phy_buffer,
					    sizeof(report->phy_buffer));
		report->tap = end && end->tap ? end : NULL;
		return;
	}
	report->tap = start;
	if (end && end->tap)
		report->peer = end;
	else if (exit)
		report->phy = devices__name(context->devices, &exit->device, report->phy_buffer,
					    sizeof(report->phy_buffer));
}

size_t report__examples(const struct report_context *context, const struct row *row,
			void (*packet)(const struct report_context *context,
				       const struct report *report))
{
	const struct vmlat_flight *slowest = row__exemplar(row, 1000);
	const struct vmlat_flight *examples[] = { row__exemplar(row, 990), slowest };
	size_t count = 0;

	for (size_t i = examples[0] == slowest; i < 2 && slowest; i++, count++) {
		struct report report;

		if (!packet)
			continue;
		report__describe(context, examples[i], &report);
		report.exemplar = examples[i] == slowest ? "max" : "p99";
		packet(context, &report);
	}
	return count;
}

const char *fragment_name(const struct vmlat_flow *flow)
{
	static const char *const names[] = {
		[VMLAT_FIRST_FRAGMENT] = "first",
		[VMLAT_LATER_FRAGMENT] = "later",
		[VMLAT_UNMATCHED_FRAGMENT] = "unmatched",
	};

	return flow->family && flow->fragment <= VMLAT_UNMATCHED_FRAGMENT ? names[flow->fragment]
									  : NULL;
}

bool has_tcp_seq(const struct vmlat_flow *flow)
{
	return flow->has_ports && flow->protocol == IPPROTO_TCP &&
	       flow->fragment != VMLAT_LATER_FRAGMENT;
}

unsigned int exit_segments(const struct vmlat_exit *exit)
{
	return exit->segments ? exit->segments : 1;
}

const char *protocol_name(const struct vmlat_flow *flow, bool lower, char *buffer, size_t size)
{
	switch (flow->protocol) {
	case IPPROTO_TCP:
		return lower ? "tcp" : "TCP";
	case IPPROTO_UDP:
		return lower ? "udp" : "UDP";
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (flow->protocol == (flow->family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
			return lower ? "icmp" : "ICMP";
	}
	snprintf(buffer, size, "%u", flow->protocol);
	return buffer;
}

struct timespec wall_clock(const struct report_context *context, __u64 ns)
{
	__u64 wall = ns + context->clock_offset_ns;

	return (struct timespec){ .tv_sec = wall / 1000000000, .tv_nsec = wall % 1000000000 };
}

const char *drop_place(const struct report_context *context, __u64 location, enum vmlat_hook last)
{
	const char *name = NULL;
	__u64 offset;

	if (location)
		name = symbols__name(context->kernel->symbols, location, &offset);
	return name ? name : hooks[last].name;
}

const char *drop_reason(const struct report_context *context, bool has_reason, __u32 reason)
{
	return has_reason ? kernel__drop_reason(context->kernel, reason) : NULL;
}

static bool begins_with(const char *name, const char *prefix)
{
	return name && !strncmp(name, prefix, strlen(prefix));
}

/* BPF programs have symbols where net.core.bpf_jit_kallsyms is 1 (the default with the JIT). */
static bool is_tracers(const struct frame *frame)
{
	return begins_with(frame->name, "bpf_prog_") ||
	       begins_with(frame->name, "bpf_trampoline_") ||
	       begins_with(frame->name, "bpf_trace_run");
}

/* Where they have none: the first frames, up to the hooked function or the tracepoint's caller. */
static size_t first_frame(const struct frame *frames, size_t count, const char *function)
{
	enum { OWN = 4 };

	for (size_t i = 0; i < count && i < OWN; i++) {
		if (frames[i].name && !strcmp(frames[i].name, function))
			return i;
		if (begins_with(frames[i].name, "bpf_trace_run"))
			return i + 1;
	}
	return 0;
}

/*
 * Takes out the tracer's frames. Where fexit is attached its trampoline calls the function, which
 * then stands twice: once with its own frame, once (some bytes in) as what called the trampoline.
 */
static size_t without_tracer(struct frame *frames, size_t count, const char *function)
{
	size_t kept = 0;
	bool left_out = false;

	for (size_t i = first_frame(frames, count, function); i < count; i++) {
		bool twice = left_out && kept && frames[i].name && frames[kept - 1].name &&
			     !strcmp(frames[i].name, frames[kept - 1].name);

		left_out = is_tracers(&frames[i]);
		if (!left_out && !twice)
			frames[kept++] = frames[i];
	}
	return kept;
}

size_t report__stack(const struct report_context *context, const struct vmlat_visit *visit,
		     struct frame *frames)
{
	__u64 addresses[FRAMES];
	size_t count;

	if (!context->options->stacks)
		return 0;
	count = tracer__stack(context->tracer, visit->stack, addresses, FRAMES);
	for (size_t i = 0; i < count; i++) {
		frames[i].name =
			symbols__name(context->kernel->symbols, addresses[i], &frames[i].offset);
		if (!frames[i].name)
			frames[i].offset = addresses[i];
	}
	return without_tracer(frames, count, hooks[visit->hook].name);
}

size_t report__top(const struct report_context *context, struct flows *flows,
		   const struct flow **sorted)
{
	size_t count = flows__sorted(flows, sorted);

	return count < context->options->top ? count : context->options->top;
}

const struct device *report__tap(const struct report_context *context, const struct flow *flow)
{
	__u32 index = flow->key.interface;

	return index < context->devices->count ? &context->devices->all[index] : NULL;
}

static bool has_traffic(const struct device *device)
{
	return device->tap && devices__chosen(device);
}

/* That name's first entry, since the others are counted with it. */
static bool is_first(const struct devices *devices, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (has_traffic(&devices->all[i]) &&
		    !strcmp(devices->all[i].name, devices->all[index].name))
			return false;
	return true;
}

void report__traffic(const struct report_context *context, const struct accounts *accounts,
		     void (*handler)(void *argument, const char *tap, int direction,
				     const struct vmlat_traffic *traffic),
		     void *argument)
{
	for (size_t i = 0; i < context->devices->count; i++) {
		const struct device *device = &context->devices->all[i];

		if (!has_traffic(device) || !is_first(context->devices, i))
			continue;
		for (int direction = VMLAT_TX; direction <= VMLAT_RX; direction++) {
			struct vmlat_traffic traffic = accounts__traffic(accounts, context->devices,
									 device->name, direction);

			if (context->options->devices.directions & direction)
				handler(argument, device->name, direction, &traffic);
		}
	}
}
