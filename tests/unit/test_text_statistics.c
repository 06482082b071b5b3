// SPDX-License-Identifier: GPL-2.0
/* Statistics for people, against files of what they are to look like. */
#include "sample_statistics.h"

/* In the directory of this file. With GOLDEN=write in the environment it is written anew. */
static void assert_golden(const char *name, const char *text)
{
	const char *order = getenv("GOLDEN");
	static char expected[65536];
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%.*s/golden/%s", (int)(strrchr(__FILE__, '/') - __FILE__),
		 __FILE__, name);
	if (order && !strcmp(order, "write")) {
		file = fopen(path, "we");
		assert_non_null(file);
		fputs(text, file);
		fclose(file);
	}
	file = fopen(path, "re");
	assert_non_null(file);
	read_all(file, expected, sizeof(expected));
	assert_string_equal(text, expected);
}

/* Columns, not bytes: none of the letters here has two. */
static void assert_80_columns(const char *text)
{
	for (const char *at = text; *at; at += strcspn(at, "\n") + 1)
		if (strcspn(at, "\n") > 80)
			fail_msg("more than 80 columns: %.*s", (int)strcspn(at, "\n"), at);
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
	};

	setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests_name("text_statistics", tests, NULL, NULL);
}
