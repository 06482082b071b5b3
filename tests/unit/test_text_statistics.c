// SPDX-License-Identifier: GPL-2.0
/* Statistics for people, against files of what they are to look like. */
#include "golden.h"
#include "sample_statistics.h"
#include "utf8.h"

/* Columns, not bytes; but for the stages of packets. */
static void assert_80_columns(const char *text)
{
	char line[1024];

	for (const char *at = text; *at; at += strlen(line) + 1) {
		snprintf(line, sizeof(line), "%.*s", (int)strcspn(at, "\n"), at);
		if (utf8__columns(line) > 80 && !strstr(line, " STAGE_"))
			fail_msg("more than 80 columns: %s", line);
	}
}

static void an_interval_has_an_overview_a_table_for_each_vm_and_its_accounts(void **state)
{
	struct statistics statistics = sample_statistics(*state);
	const char *text = statistics_written(*state, &text_format, &statistics, false);

	assert_golden("statistics.txt", text);
	assert_80_columns(text);
	statistics__free(&statistics);
}

static void the_whole_trace_has_its_accounts_in_the_summary_behind_it(void **state)
{
	struct statistics statistics = sample_statistics(*state);
	const char *text = statistics_written(*state, &text_format, &statistics, true);

	assert_non_null(strstr(text, "=== Statistics of the whole trace: 2026-01-15 "
				     "10:30:45.123456, 10.000 s ===\n"));
	assert_null(strstr(text, "Packets:"));
	statistics__free(&statistics);
}

static void histograms_are_there_when_they_are_wanted(void **state)
{
	struct sample *sample = *state;
	struct statistics statistics = sample_statistics(sample);
	const char *text;

	sample->options.histogram = true;
	text = statistics_written(sample, &text_format, &statistics, false);
	assert_golden("histograms.txt", text);
	assert_80_columns(text);
	statistics__free(&statistics);
}

static void what_is_beyond_the_last_octave_is_in_its_open_end(void **state)
{
	struct sample *sample = *state;
	struct statistics statistics = { 0 };
	const char *text;

	sample->options.histogram = true;
	add_total(&statistics, host_device(&sample->devices, "tap9"), VMLAT_TX, 1, 1ULL << 45, 0);
	text = statistics_written(sample, &text_format, &statistics, false);
	assert_non_null(strstr(text, "\n     550s -                1 ####"));
	statistics__free(&statistics);
}

static void an_interval_without_packets_says_so(void **state)
{
	struct sample *sample = *state;
	struct statistics statistics = { 0 };
	const struct vmlat_flight *flight = &sample->flight;
	const char *text;

	/* an example of the next one has made a row */
	assert_int_equal(statistics__add_exemplar(&statistics,
						  host_device(&sample->devices, "vnet0"), flight),
			 0);
	text = statistics_written(sample, &text_format, &statistics, false);
	assert_non_null(strstr(text, "\nNo packet completed.\n\n  Packets: "));
	assert_null(strstr(text, "slowest segment"));
	statistics__free(&statistics);
}

static void a_row_whose_total_had_no_room_has_its_table(void **state)
{
	struct sample *sample = *state;
	struct statistics statistics = { 0 };
	const char *text;

	add_segment(&statistics, host_device(&sample->devices, "tap9"), VMLAT_TX,
		    VMLAT_STAGE_TAP_IN, VMLAT_STAGE_DRIVER, 2, 5000, 0);
	text = statistics_written(sample, &text_format, &statistics, false);
	assert_non_null(strstr(text, "\n  [0->driver] tap -> driver          2 5.00u 5.00u "));
	statistics__free(&statistics);
}

static void more_packets_than_the_column_has_room_for_are_rounded(void **state)
{
	struct sample *sample = *state;
	struct statistics statistics = { 0 };
	struct distribution *total;

	add_total(&statistics, host_device(&sample->devices, "tap9"), VMLAT_TX, 1, 5000, 0);
	total = &statistics.rows[0].segments[0].times;
	total->count = total->bucket[vmlat_bucket(5000)] = 9999999;
	statistics_written(sample, &text_format, &statistics, false);
	assert_non_null(strstr(sample->text, "\ntap9             TX 9999999 5.00u"));
	total->count = total->bucket[vmlat_bucket(5000)] = 12345678;
	statistics_written(sample, &text_format, &statistics, false);
	assert_non_null(strstr(sample->text, "\ntap9             TX   12.3M 5.00u"));
	total->count = total->bucket[vmlat_bucket(5000)] = 123456789012;
	statistics_written(sample, &text_format, &statistics, false);
	assert_non_null(strstr(sample->text, "\ntap9             TX    123G 5.00u"));
	statistics__free(&statistics);
}

static void names_are_printable(void **state)
{
	struct sample *sample = *state;
	struct statistics statistics = { 0 };
	struct device *vnet0 = host_device(&sample->devices, "vnet0");

	snprintf(vnet0->vm, VM_NAME, "a\033[31mb");
	add_total(&statistics, vnet0, VMLAT_TX, 1, 5000, 0);
	statistics_written(sample, &text_format, &statistics, false);
	assert_null(strchr(sample->text, '\033'));
	assert_non_null(strstr(sample->text, "a?[31mb TX: vnet0\n"));
	statistics__free(&statistics);
}

static void flows_have_two_lines_each_and_the_others_one(void **state)
{
	static const char expected[] = "\nThe flows with the most packets\n"
				       "    packets     bytes  mean   max\n"
				       "  10.0.0.2:4000 -> 10.0.0.1:5000 (UDP)\n"
				       "      12.3M      765M 9.00u 9.00u TX vnet0 (web1)\n"
				       "  [fd00::1]:443 -> [fd00::2]:40000 (TCP)\n"
				       "          4      6000 2.00u 3.00m RX vnet0 (web1)\n"
				       "  others: 1 flows, 3 packets, 294 bytes\n\n";
	struct sample *sample = *state;
	struct statistics statistics = { 0 };

	sample->options.top = 2;
	sample->flows = sample_flows(sample);
	statistics_written(sample, &text_format, &statistics, true);
	assert_non_null(strstr(sample->text, expected));
	flows__free(sample->flows);
	sample->flows = NULL;
}

/* Taps with the longest names that there are, all of one VM, whose name is no ASCII. */
static void add_taps(struct sample *sample, struct statistics *statistics, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct device tap = { .tap = true };

		snprintf(tap.name, sizeof(tap.name), "tap-of-office-%zu", i);
		snprintf(tap.vm, sizeof(tap.vm), "b\xc3\xbcro-\xe6\x9d\xb1\xe4\xba\xac");
		add_total(statistics, &tap, VMLAT_TX, 1, 5000, 0);
	}
	add_total(statistics, host_device(&sample->devices, "vnet0"), VMLAT_TX, 1, 4000, 0);
}

static void columns_are_columns_and_the_taps_of_a_vm_have_as_many_lines_as_they_need(void **state)
{
	struct sample *sample = *state;
	struct statistics statistics = { 0 };
	const char *text;

	add_taps(sample, &statistics, 8);
	text = statistics_written(sample, &text_format, &statistics, false);
	assert_80_columns(text);
	assert_golden("taps.txt", text);
	statistics__free(&statistics);
}

/* Ports of five digits, and an address without a zero: the longest that there are. */
static struct flows *long_flows(void)
{
	struct vmlat_flow_key key = { .src_port = 65535,
				      .dst_port = 65534,
				      .interface = UINT32_MAX,
				      .family = 6,
				      .protocol = 6,
				      .has_ports = 1,
				      .direction = VMLAT_TX };
	struct vmlat_flow_count counted = { .packets = UINT64_MAX / 2, .bytes = UINT64_MAX / 2 };
	struct flows *flows = flows__new(4, false);

	memset(key.src, 0xfd, sizeof(key.src));
	memset(key.dst, 0xfe, sizeof(key.dst));
	assert_non_null(flows);
	flows__add(flows, &key, &counted);
	counted.packets--;
	key.src_port = 1;
	flows__add(flows, &key, &counted);
	return flows;
}

static void flows_by_ipv6_fit_80_columns(void **state)
{
	struct sample *sample = *state;
	struct statistics statistics = { 0 };

	sample->options.top = 1;
	sample->flows = long_flows();
	statistics_written(sample, &text_format, &statistics, false);
	assert_80_columns(sample->text);
	assert_golden("flows.txt", sample->text);
	flows__free(sample->flows);
	sample->flows = NULL;
}

static void the_greatest_counts_fit_80_columns(void **state)
{
	struct sample *sample = *state;
	struct accounts accounts = sample_accounts();
	__u64 *counters = (__u64 *)&accounts.counters;
	const char *text;

	for (size_t i = 0; i < sizeof(accounts.counters) / sizeof(*counters); i++)
		counters[i] = UINT64_MAX;
	accounts.unkept = accounts.missed = accounts.written = UINT64_MAX;
	accounts.counters.delivered = 0;
	add_drops(&accounts);
	add_traffic(&accounts, sample);
	for (size_t i = 0; i < ARRAY_SIZE(sample->traffic); i++)
		sample->traffic[i][0] = (struct vmlat_traffic){ UINT64_MAX, UINT64_MAX };
	host_device(&sample->devices, "vnet0")->roles = VMLAT_ROLE_TAP | VMLAT_ROLE_TX_START;
	text = end_written(sample, &text_format, &accounts);
	assert_80_columns(text);
	assert_non_null(strstr(text, "\n  Lost: stacks: 18446744073709551615, "));
	assert_non_null(strstr(text, " statistics: 18446744073709551615,"));
	assert_non_null(strstr(text, " flows: 18446744073709551615\n"));
	assert_non_null(strstr(text, "18446744073709551615 bytes\n"));
}

/* Of this tap, the sample's packet or the one into it, which took so long by its last segment. */
static void add_example(struct statistics *statistics, const struct sample *sample, const char *tap,
			enum vmlat_direction direction, __u64 total_ns)
{
	const struct device *device = host_device(&sample->devices, tap);
	struct vmlat_flight flight = sample->flight;

	if (direction == VMLAT_RX)
		make_rx(&flight);
	else
		flight.start = device->id;
	flight.last_ns = flight.begin_ns + total_ns;
	flight.visit[flight.visits - 1].ns = flight.exit[0].ns = flight.last_ns;
	if (direction == VMLAT_RX)
		flight.exit[0].device = device->id;
	assert_int_equal(statistics__add_exemplar(statistics, device, &flight), 0);
}

/* The slowest packets of a VM stand behind its table; of web1's two taps each has its own. */
static void a_whole_run_is_as_it_always_was(void **state)
{
	struct sample *sample = *state;
	struct statistics statistics = sample_statistics(sample);
	struct accounts accounts = sample_accounts();
	char *text, *whole;

	add_example(&statistics, sample, "vnet0", VMLAT_TX, 3920000);
	add_example(&statistics, sample, "vnet0", VMLAT_TX, 2920000);
	add_example(&statistics, sample, "vnet0", VMLAT_TX, 23000);
	add_example(&statistics, sample, "vnet1", VMLAT_TX, 40000);
	add_example(&statistics, sample, "vnet2", VMLAT_RX, 5001009499);
	sample->options.top = 2;
	sample->flows = sample_flows(sample);
	text = strdup(statistics_written(sample, &text_format, &statistics, true));
	assert_non_null(text);
	add_drops(&accounts);
	add_traffic(&accounts, sample);
	assert_true(asprintf(&whole, "%s%s", text, end_written(sample, &text_format, &accounts)) >
		    0);
	assert_golden("whole.txt", whole);
	assert_80_columns(whole);
	free(text);
	free(whole);
	flows__free(sample->flows);
	sample->flows = NULL;
	statistics__free(&statistics);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		sample_test(an_interval_has_an_overview_a_table_for_each_vm_and_its_accounts),
		sample_test(the_whole_trace_has_its_accounts_in_the_summary_behind_it),
		sample_test(histograms_are_there_when_they_are_wanted),
		sample_test(what_is_beyond_the_last_octave_is_in_its_open_end),
		sample_test(an_interval_without_packets_says_so),
		sample_test(a_row_whose_total_had_no_room_has_its_table),
		sample_test(more_packets_than_the_column_has_room_for_are_rounded),
		sample_test(names_are_printable),
		sample_test(flows_have_two_lines_each_and_the_others_one),
		sample_test(
			columns_are_columns_and_the_taps_of_a_vm_have_as_many_lines_as_they_need),
		sample_test(flows_by_ipv6_fit_80_columns),
		sample_test(a_whole_run_is_as_it_always_was),
		sample_test(the_greatest_counts_fit_80_columns),
	};

	setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests_name("text_statistics", tests, NULL, NULL);
}
