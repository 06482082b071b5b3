// SPDX-License-Identifier: GPL-2.0
/* What a trace adds up to: intervals and the whole, of a tracer by hand. */
#include "summary.h"

#include "rows.h"
#include "sample.h"

static struct {
	struct summary summary;
	struct sample *sample;
	size_t count; /* packets that were measured since they were taken, at vnet0 */
	__u64 first; /* the first one's time, in ns; each next one's is 1 us more */
	__u32 interval;
	struct vmlat_flight *waiting; /* in the ring buffer */
	/* what was reported */
	struct statistics told;
	size_t reports, flows;
	bool whole;
} trace;

int tracer__statistics(struct tracer *tracer, const struct devices *devices,
		       struct statistics *statistics)
{
	(void)tracer;
	if (trace.count)
		add_times(statistics, host_device(devices, "vnet0"), VMLAT_TX, VMLAT_TOTAL,
			  trace.count, trace.first, 1000);
	trace.count = 0;
	trace.interval++;
	return 0;
}

int tracer__handle(struct tracer *tracer, bool sleeping)
{
	(void)tracer;
	assert_false(sleeping);
	if (trace.waiting)
		assert_int_equal(summary__keep(&trace.summary, trace.waiting), 0);
	trace.waiting = NULL;
	return 0;
}

int tracer__flows(struct tracer *tracer, struct flows *flows)
{
	static const struct vmlat_flow_key key = { .family = 4 };
	struct vmlat_flow_count counted = { .packets = trace.flows };

	(void)tracer;
	if (trace.flows)
		flows__add(flows, &key, &counted);
	trace.flows = 0;
	return 0;
}

__u32 tracer__interval(const struct tracer *tracer)
{
	(void)tracer;
	return trace.interval;
}

#include "by_hand.h"

static void tell(const struct report_context *context, const struct interval *interval)
{
	const struct flow *sorted;

	(void)context;
	trace.reports++;
	trace.whole = interval->whole;
	statistics__free(&trace.told);
	assert_int_equal(statistics__merge(&trace.told, interval->statistics), 0);
	trace.flows = interval->flows && flows__sorted(interval->flows, &sorted)
			      ? sorted->counted.packets
			      : 0;
}

static void tell_packet(const struct report_context *context, const struct report *report)
{
	(void)context;
	(void)report;
}

static const struct format_ops format = { .statistics = tell,
					  .packet = tell_packet,
					  .exemplars = true };

static int set_up(void **state)
{
	void *sample;

	(void)state;
	memset(&trace, 0, sizeof(trace));
	assert_int_equal(set_up_sample(&sample), 0);
	trace.sample = sample;
	trace.sample->options.interval_ns = 60000000000;
	trace.sample->options.top = 3;
	trace.interval = 1;
	assert_int_equal(summary__begin(&trace.summary, &trace.sample->context,
					&trace.sample->tracer, &format),
			 0);
	return 0;
}

static int tear_down(void **state)
{
	void *sample = trace.sample;

	(void)state;
	summary__end(&trace.summary);
	statistics__free(&trace.told);
	return tear_down_sample(&sample);
}

static void measure(size_t count, __u64 first)
{
	trace.count = trace.flows = count;
	trace.first = first;
}

/* An example of the interval that the BPF side measures now. */
static void keep(__u64 total_ns)
{
	trace.sample->flight.remarkable = trace.interval;
	trace.sample->flight.last_ns = trace.sample->flight.begin_ns + total_ns;
	assert_int_equal(summary__keep(&trace.summary, &trace.sample->flight), 0);
}

static const struct row *only_row(void)
{
	assert_int_equal(trace.told.count, 1);
	return &trace.told.rows[0];
}

static void assert_told(size_t count, const char *vm, __u64 slowest)
{
	const struct row *row = only_row();
	const struct vmlat_flight *example = row__exemplar(row, 1000);

	assert_string_equal(row->vm, vm);
	assert_non_null(row__total(row));
	assert_int_equal(row__total(row)->times.count, count);
	assert_non_null(example);
	assert_int_equal(example->last_ns - example->begin_ns, slowest);
}

static void end_interval(void)
{
	assert_int_equal(summary__report_interval(&trace.summary), 0);
	assert_false(trace.whole);
}

static void end_trace(void)
{
	struct accounts accounts = { 0 };

	assert_int_equal(summary__report_end(&trace.summary, &accounts, false), 0);
	assert_true(trace.whole);
	accounts__free(&accounts);
}

static struct device *vnet0(void)
{
	return host_device(&trace.sample->devices, "vnet0");
}

static void each_interval_has_its_own_and_the_whole_has_all(void **state)
{
	(void)state;
	measure(3, 5000);
	keep(7000);
	end_interval();
	assert_told(3, "web1", 7000);
	measure(2, 9000);
	keep(10000);
	end_interval();
	assert_told(2, "web1", 10000);
	end_trace();
	assert_told(5, "web1", 10000);
}

/* The kernel counts in 32 bits, and an interval may be an hour. */
static void what_is_collected_in_between_is_the_intervals_all_the_same(void **state)
{
	(void)state;
	measure(3, 5000);
	keep(7000);
	assert_int_equal(summary__collect(&trace.summary), 0);
	measure(4, 20000);
	keep(23000);
	assert_int_equal(summary__collect(&trace.summary), 0);
	assert_int_equal(trace.reports, 0);
	measure(2, 9000);
	end_interval();
	assert_told(9, "web1", 23000);
	assert_int_equal(trace.flows, 9);
	trace.flows = 0;
	measure(1, 6000);
	keep(6000);
	end_interval();
	assert_told(1, "web1", 6000);
	assert_int_equal(trace.flows, 1);
	trace.flows = 0;
	end_trace();
	assert_told(10, "web1", 23000);
	assert_int_equal(trace.flows, 10);
}

/* It was measured when its total is handed over, and its number is of the next interval already. */
static void an_early_example_is_of_what_is_measured_next(void **state)
{
	(void)state;
	measure(1, 5000);
	trace.interval++;
	keep(8000);
	trace.interval--;
	assert_int_equal(summary__collect(&trace.summary), 0);
	measure(1, 8000);
	end_interval();
	assert_told(2, "web1", 8000);
}

static void without_intervals_all_is_of_the_whole(void **state)
{
	(void)state;
	trace.sample->options.interval_ns = 0;
	measure(3, 5000);
	keep(7000);
	assert_int_equal(summary__collect(&trace.summary), 0);
	measure(1, 4000);
	end_trace();
	assert_told(4, "web1", 7000);
	assert_int_equal(trace.reports, 1);
}

/* Its packets of before, in this interval and in those that are over, and their examples. */
static void a_vm_that_is_named_late_has_one_row(void **state)
{
	(void)state;
	vnet0()->vm[0] = '\0';
	measure(3, 5000);
	keep(7000);
	end_interval();
	assert_told(3, "", 7000);
	measure(2, 8000);
	keep(9000);
	snprintf(vnet0()->vm, VM_NAME, "web3");
	trace.sample->flight.last_ns = trace.sample->flight.begin_ns + 6000;
	trace.waiting = &trace.sample->flight;
	end_interval();
	assert_told(2, "web3", 9000);
	measure(1, 4000);
	end_interval();
	end_trace();
	assert_told(6, "web3", 9000);
	assert_int_equal(only_row()->exemplar_count, 3);
}

#define summary_test(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		summary_test(each_interval_has_its_own_and_the_whole_has_all),
		summary_test(what_is_collected_in_between_is_the_intervals_all_the_same),
		summary_test(an_early_example_is_of_what_is_measured_next),
		summary_test(without_intervals_all_is_of_the_whole),
		summary_test(a_vm_that_is_named_late_has_one_row),
	};

	return cmocka_run_group_tests_name("summary", tests, NULL, NULL);
}
