// SPDX-License-Identifier: GPL-2.0
#include "unit.h"

#include <arpa/inet.h>

#include "exit.h"
#include "hooks.h"
#include "options.h"

#define SECOND 1000000000ULL

/* Whole command lines. What is right is parsed here, what is wrong in a process of its own. */
#define LINE(...) ((char *[]){ "vmlat", ##__VA_ARGS__, NULL })

static int words(char **line)
{
	int count = 0;

	while (line[count])
		count++;
	return count;
}

static struct options good(char **line)
{
	struct options options;

	assert_int_equal(options__parse(&options, words(line), line), 0);
	return options;
}

static int parse_apart(void *line)
{
	struct options options;
	int code = options__parse(&options, words(line), line);

	options__free(&options);
	return code ? code : 99; /* what no error ends with */
}

static void assert_wrong(char **line, const char *words)
{
	struct run run;

	run_apart(&run, parse_apart, line);
	assert_string_equal(run.err, words);
	assert_string_equal(run.out, "");
	assert_int_equal(run.code, EXIT_USAGE);
}

static void assert_names(char **list, const char *first, const char *second)
{
	assert_non_null(list);
	assert_string_equal(list[0], first);
	if (!second) {
		assert_null(list[1]);
		return;
	}
	assert_string_equal(list[1], second);
	assert_null(list[2]);
}

static void without_options_everything_is_traced(void **state)
{
	struct options options = good(LINE());
	static const struct vmlat_filter everything = {
		.src_port = { 0, 65535 },
		.dst_port = { 0, 65535 },
	};

	(void)state;
	assert_memory_equal(&options.filter, &everything, sizeof(everything));
	assert_int_equal(options.devices.directions, VMLAT_BOTH);
	assert_null(options.devices.taps);
	assert_null(options.devices.vms);
	assert_null(options.devices.nics);
	assert_int_equal(options.threshold_ns, 0);
	assert_int_equal(options.count, 0);
	assert_int_equal(options.duration_ns, 0);
	assert_null(options.command);
}

static void defaults_are_those_of_the_help(void **state)
{
	struct options options = good(LINE());

	(void)state;
	assert_int_equal(options.outcomes, 1U << VMLAT_COMPLETED | 1U << VMLAT_DROPPED |
						   1U << VMLAT_UPCALL_LOST | 1U << VMLAT_EXPIRED |
						   1U << VMLAT_EVICTED | 1U << VMLAT_AMBIGUOUS);
	assert_int_equal(options.format, FORMAT_TEXT);
	assert_int_equal(options.attach, ATTACH_AUTO);
	assert_int_equal(options.flights, 16384);
	assert_int_equal(options.sample, 1);
	assert_int_equal(options.timeout_ns, 5 * SECOND);
	assert_int_equal(options.buffer_bytes, 8 << 20);
	assert_null(options.output);
	assert_null(options.ready_file);
	assert_false(options.stacks || options.strict || options.verbose || options.quiet);
}

static void each_end_of_the_five_tuple_is_its_own(void **state)
{
	struct options options = good(LINE("-s", "10.0.0.0/8", "--dst-ip=10.1.2.3", "--src-port",
					   "53", "--dst-port=1024-2048", "-P", "tcp,udp"));
	const struct vmlat_filter *filter = &options.filter;

	(void)state;
	assert_int_equal(filter->src.family, 4);
	assert_int_equal(ntohl(filter->src.addr[0]), 0x0a000000);
	assert_int_equal(ntohl(filter->src.mask[0]), 0xff000000);
	assert_int_equal(ntohl(filter->dst.addr[0]), 0x0a010203);
	assert_int_equal(ntohl(filter->dst.mask[0]), 0xffffffff);
	assert_int_equal(filter->src_port.low, 53);
	assert_int_equal(filter->src_port.high, 53);
	assert_int_equal(filter->dst_port.low, 1024);
	assert_int_equal(filter->dst_port.high, 2048);
	assert_int_equal(filter->protocols, VMLAT_TCP | VMLAT_UDP);
	assert_int_equal(filter->active, 1);
}

static void any_one_filter_leaves_out_what_is_not_ip(void **state)
{
	(void)state;
	assert_int_equal(good(LINE("-s", "0.0.0.0/0")).filter.active, 1);
	assert_int_equal(good(LINE("-D", "::/0")).filter.active, 1);
	assert_int_equal(good(LINE("--src-port=1")).filter.active, 1);
	assert_int_equal(good(LINE("--dst-port=1")).filter.active, 1);
	assert_int_equal(good(LINE("-P", "icmp")).filter.active, 1);
	assert_int_equal(good(LINE("-P", "any")).filter.active, 0);
	assert_int_equal(good(LINE("-d", "tx", "-l", "5")).filter.active, 0);
}

static void each_option_has_its_long_and_its_short_name(void **state)
{
	struct options a = good(LINE("-d", "rx", "-l", "1.5", "-c", "7", "-t", "0.5", "-f", "json",
				     "-o", "x", "-v"));
	struct options b = good(LINE("--direction=rx", "--latency-threshold=1.5", "--count=7",
				     "--duration=0.5", "--format=json", "--output=x", "--verbose"));

	(void)state;
	assert_int_equal(a.devices.directions, VMLAT_RX);
	assert_int_equal(a.threshold_ns, 1500);
	assert_int_equal(a.count, 7);
	assert_int_equal(a.duration_ns, SECOND / 2);
	assert_int_equal(a.format, FORMAT_JSON);
	assert_string_equal(a.output, "x");
	assert_true(a.verbose);
	b.output = a.output;
	assert_memory_equal(&a, &b, sizeof(a));
}

static void options_without_a_short_name_are_taken(void **state)
{
	struct options options = good(LINE("--outcome=dropped,expired", "--stack", "--strict", "-q",
					   "--ready-file=ready", "--attach=kprobe", "--flights=16",
					   "--timeout=2.5", "--sample=100"));

	(void)state;
	assert_int_equal(options.outcomes, 1U << VMLAT_DROPPED | 1U << VMLAT_EXPIRED);
	assert_true(options.stacks);
	assert_true(options.strict);
	assert_true(options.quiet);
	assert_false(options.verbose);
	assert_string_equal(options.ready_file, "ready");
	assert_int_equal(options.attach, ATTACH_KPROBE);
	assert_int_equal(good(LINE("--attach=fentry")).attach, ATTACH_FENTRY);
	assert_int_equal(options.flights, 16);
	assert_int_equal(options.sample, 100);
	assert_int_equal(options.timeout_ns, 5 * SECOND / 2);
}

static void the_buffer_is_a_power_of_two_of_at_least_that_size(void **state)
{
	(void)state;
	assert_int_equal(good(LINE("--buffer=4")).buffer_bytes, 4096);
	assert_int_equal(good(LINE("--buffer=5")).buffer_bytes, 8192);
	assert_int_equal(good(LINE("--buffer=1024")).buffer_bytes, 1 << 20);
	assert_int_equal(good(LINE("--buffer=1048576")).buffer_bytes, 1ULL << 30);
}

static void device_lists_add_up(void **state)
{
	struct options options = good(
		LINE("-i", "vnet0", "--vm-interface=vnet1", "--vm=web1,db", "-p", "eth0,eth1"));

	(void)state;
	assert_names(options.devices.taps, "vnet0", "vnet1");
	assert_names(options.devices.vms, "web1", "db");
	assert_names(options.devices.nics, "eth0", "eth1");
	options__free(&options);
}

static void a_command_is_everything_behind_the_dashes(void **state)
{
	char **line = LINE("-c", "5", "--", "ping", "-c", "1", "--", "--nonsense");
	struct options options = good(line);

	(void)state;
	assert_ptr_equal(options.command, line + 4);
	assert_string_equal(options.command[0], "ping");
	assert_int_equal(options.count, 5);
}

static void dashes_without_a_command_are_wrong(void **state)
{
	(void)state;
	assert_wrong(LINE("-c", "5", "--"), "vmlat: error: -- without a command behind it\n");
}

static void a_wrong_value_names_its_option_and_what_is_wrong(void **state)
{
	static const struct {
		char *option, *words;
	} cases[] = {
		{ "-sweb1", "--src-ip=web1 is no IPv4 or IPv6 address (names are not looked up)" },
		{ "-D10.0.0.1/24", "--dst-ip=10.0.0.1/24 has bits set beyond its prefix length" },
		{ "--src-port=70000", "--src-port=70000 is no port or port range (0 to 65535)" },
		{ "--dst-port=9-1",
		  "--dst-port=9-1 is an empty range: the lower port comes first" },
		{ "-Psctp", "--protocol=sctp is no list of tcp, udp, icmp, any" },
		{ "-dup", "--direction=up is none of tx, rx, both" },
		{ "-l-1",
		  "--latency-threshold=-1 is no time (a decimal number, such as 250 or 0.5)" },
		{ "-t0", "--duration=0 must be more than 0" },
		{ "-t90000", "--duration=90000 is more than a day" },
		{ "--interval=3601", "--interval=3601 is more than an hour" },
		{ "--timeout=0", "--timeout=0 must be more than 0" },
		{ "-c0", "--count=0 is no number of packets, 1 or more" },
		{ "-c1e3", "--count=1e3 is no number of packets, 1 or more" },
		{ "-fxml", "--format=xml is none of text, json, csv" },
		{ "--attach=magic", "--attach=magic is none of auto, fentry, kprobe" },
		{ "--sample=0", "--sample=0 is no number from 1 to 1000000" },
		{ "--sample=1000001", "--sample=1000001 is no number from 1 to 1000000" },
		{ "--sample=1/10", "--sample=1/10 is no number from 1 to 1000000" },
		{ "--top=0", "--top=0 is no number from 1 to 1000" },
		{ "--top=1001", "--top=1001 is no number from 1 to 1000" },
		{ "--top-by=latency", "--top-by=latency is neither packets nor bytes" },
		{ "--flights=15", "--flights=15 is no number from 16 to 4194304" },
		{ "--flights=4194305", "--flights=4194305 is no number from 16 to 4194304" },
		{ "--buffer=3", "--buffer=3 is no size from 4 to 1048576 KiB" },
		{ "--buffer=1048577", "--buffer=1048577 is no size from 4 to 1048576 KiB" },
		{ "-ia,,b", "--vm-interface=a,,b has an empty name in it" },
		{ "--vm=", "--vm= has an empty name in it" },
		{ "-peth0,", "--phy-interface=eth0, has an empty name in it" },
		{ "--outcome=lost",
		  "--outcome=lost is no list of completed, dropped, diverted, merged, upcall_lost, "
		  "expired, evicted, ambiguous, in_flight" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char words[512];

		snprintf(words, sizeof(words), "vmlat: error: %s; see vmlat --help\n",
			 cases[i].words);
		assert_wrong(LINE(cases[i].option), words);
	}
}

static void an_unknown_option_is_told_the_nearest(void **state)
{
	(void)state;
	assert_wrong(LINE("--dts-ip=1.2.3.4"), "vmlat: error: there is no option --dts-ip; did you "
					       "mean --dst-ip?; see vmlat --help\n");
	assert_wrong(LINE("-c", "1", "--protocols", "tcp"),
		     "vmlat: error: there is no option --protocols; did you mean --protocol?; see "
		     "vmlat --help\n");
	assert_wrong(LINE("--quite"), "vmlat: error: there is no option --quite; did you mean "
				      "--quiet?; see vmlat --help\n");
	assert_wrong(LINE("--zzzzzzzzz"),
		     "vmlat: error: there is no option --zzzzzzzzz; see vmlat --help\n");
}

static void an_option_longer_than_any_is_unknown(void **state)
{
	char option[400] = "--";
	struct run run;

	(void)state;
	memset(option + 2, 'a', sizeof(option) - 3);
	run_apart(&run, parse_apart, LINE(option));
	assert_int_equal(run.code, EXIT_USAGE);
	assert_int_equal(strncmp(run.err, "vmlat: error: there is no option --aaaa", 38), 0);
}

static void an_unknown_letter_is_wrong(void **state)
{
	struct run run;

	(void)state;
	run_apart(&run, parse_apart, LINE("-x"));
	assert_int_equal(run.code, EXIT_USAGE);
	assert_non_null(strstr(run.err, "invalid option -- 'x'"));
	assert_string_equal(run.out, "");
}

static void an_option_without_its_value_is_wrong(void **state)
{
	struct run run;

	(void)state;
	run_apart(&run, parse_apart, LINE("--src-ip"));
	assert_int_equal(run.code, EXIT_USAGE);
	assert_non_null(strstr(run.err, "option '--src-ip' requires an argument"));
}

static void the_beginning_of_a_name_is_enough_when_no_other_has_it(void **state)
{
	struct run run;

	(void)state;
	assert_int_equal(good(LINE("--dir=tx")).devices.directions, VMLAT_TX);
	run_apart(&run, parse_apart, LINE("--src=1.2.3.4"));
	assert_int_equal(run.code, EXIT_USAGE);
	assert_non_null(strstr(run.err, "'--src=1.2.3.4' is ambiguous"));
}

static void an_option_given_twice_is_wrong(void **state)
{
	(void)state;
	assert_wrong(LINE("-s", "10.0.0.1", "--src-ip", "10.0.0.2"),
		     "vmlat: error: --src-ip is given twice\n");
	assert_wrong(LINE("-c1", "-c1"), "vmlat: error: --count is given twice\n");
	assert_wrong(LINE("-Ptcp", "-Pudp"), "vmlat: error: --protocol is given twice\n");
}

static void a_stray_word_is_wrong_and_told_where_a_command_stands(void **state)
{
	(void)state;
	assert_wrong(LINE("ping"),
		     "vmlat: error: unexpected argument ping (a command to run stands "
		     "behind --); see vmlat --help\n");
}

static void options_that_contradict_each_other_are_wrong(void **state)
{
	(void)state;
	assert_wrong(LINE("-s", "10.0.0.1", "-D", "::1"),
		     "vmlat: error: --src-ip and --dst-ip contradict each other: one is IPv4, the "
		     "other IPv6, and no packet has both\n");
	assert_wrong(LINE("-P", "icmp", "--dst-port=53"),
		     "vmlat: error: --protocol=icmp and a port contradict each other: ICMP has no "
		     "ports\n");
	assert_wrong(LINE("--src-port=1", "-P", "icmp"),
		     "vmlat: error: --protocol=icmp and a port contradict each other: ICMP has no "
		     "ports\n");
	assert_wrong(LINE("--interval=1"),
		     "vmlat: error: --interval is of statistics: --summary --interval=SEC\n");
	assert_wrong(LINE("-S", "-c", "10"),
		     "vmlat: error: --count and --summary contradict each other: packets are not "
		     "reported one by one; --duration ends a summary\n");
	assert_wrong(LINE("--top-by=packets"),
		     "vmlat: error: --top-by says by what, --top how many flows: --top=N\n");
	assert_wrong(LINE("--top=3", "-fcsv"),
		     "vmlat: error: --format=csv has rows of packets or segments, and none of "
		     "flows: --top has text and json\n");
	assert_wrong(LINE("--stack", "-fcsv"),
		     "vmlat: error: --format=csv has no stacks: --stack has text and json\n");
	assert_wrong(LINE("-S", "--histogram", "-fcsv"),
		     "vmlat: error: --format=csv has no distributions: --histogram has text and "
		     "json\n");
	assert_wrong(LINE("-q", "-v"),
		     "vmlat: error: --quiet and --verbose contradict each other\n");
}

static void statistics_may_come_every_so_often_and_with_histograms(void **state)
{
	struct options options = good(LINE("-S", "--interval=0.5", "--histogram", "-l", "10"));

	(void)state;
	assert_true(options.summary);
	assert_true(options.histogram);
	assert_int_equal(options.interval_ns, SECOND / 2);
	assert_int_equal(options.threshold_ns, 10000);
	options = good(LINE("--histogram")); /* of the whole trace's, behind its packets */
	assert_false(options.summary);
	assert_int_equal(options.interval_ns, 0);
	assert_wrong(LINE("-S", "--interval=0"),
		     "vmlat: error: --interval=0 must be more than 0; see vmlat --help\n");
}

static void flows_may_be_asked_for_by_packets_or_bytes(void **state)
{
	(void)state;
	assert_int_equal(good(LINE("-S")).top, 0);
	assert_int_equal(good(LINE("--top=3")).top, 3);
	assert_false(good(LINE("--top=3", "--top-by=packets")).top_by_bytes);
	assert_true(good(LINE("--top-by=bytes", "--top=1000")).top_by_bytes);
}

static void icmp_among_others_may_have_a_port(void **state)
{
	struct options options = good(LINE("-P", "icmp,udp", "--dst-port=53"));

	(void)state;
	assert_int_equal(options.filter.protocols, VMLAT_ICMP | VMLAT_UDP);
}

static void the_help_names_every_option_and_ends_well(void **state)
{
	static const char *const options[] = {
		"--direction",	   "--src-ip",
		"--dst-ip",	   "--src-port",
		"--dst-port",	   "--protocol",
		"--vm-interface",  "--vm",
		"--phy-interface", "--latency-threshold",
		"--outcome",	   "--count",
		"--duration",	   "--stack",
		"--format",	   "--output",
		"--ready-file",	   "--strict",
		"--quiet",	   "--verbose",
		"--attach",	   "--flights",
		"--timeout",	   "--buffer",
	};
	struct run run, briefly;

	(void)state;
	run_apart(&run, parse_apart, LINE("--help"));
	assert_int_equal(run.code, 0);
	assert_string_equal(run.err, "");
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		assert_non_null(strstr(run.out, options[i]));
	run_apart(&briefly, parse_apart, LINE("-h"));
	assert_int_equal(briefly.code, 0);
	assert_string_equal(briefly.out, run.out);
}

static void the_version_is_data(void **state)
{
	struct run run;

	(void)state;
	run_apart(&run, parse_apart, LINE("--version"));
	assert_int_equal(run.code, 0);
	assert_string_equal(run.out, "vmlat 0.1.0\n");
	assert_string_equal(run.err, "");
}

static void check_has_the_options_of_its_trace(void **state)
{
	char **line = LINE("check", "-d", "rx", "-i", "vnet0", "--vm", "web1", "-p", "eth0",
			   "--attach=kprobe", "-f", "json", "-o", "file");
	struct options options = good(line);

	(void)state;
	assert_int_equal(options.what, COMMAND_CHECK);
	assert_int_equal(options.devices.directions, VMLAT_RX);
	assert_names(options.devices.taps, "vnet0", NULL);
	assert_names(options.devices.vms, "web1", NULL);
	assert_names(options.devices.nics, "eth0", NULL);
	assert_int_equal(options.attach, ATTACH_KPROBE);
	assert_int_equal(options.format, FORMAT_JSON);
	assert_string_equal(options.output, "file");
	options__free(&options);
	options = good(LINE("-i", "check"));
	assert_int_equal(options.what, COMMAND_TRACE);
	options__free(&options);
}

static void check_has_no_other_options(void **state)
{
	(void)state;
	assert_wrong(LINE("check", "--stack"),
		     "vmlat: error: there is no option --stack; see vmlat check --help\n");
	assert_wrong(LINE("check", "--atach=auto"),
		     "vmlat: error: there is no option --atach; did you mean --attach?; see vmlat "
		     "check --help\n");
	assert_wrong(LINE("check", "vnet0"),
		     "vmlat check: error: unexpected argument vnet0; see vmlat check --help\n");
	assert_wrong(LINE("check", "-f", "csv"),
		     "vmlat check: error: --format=csv is of packets: check has text and json\n");
	assert_wrong(LINE("check", "--", "true"),
		     "vmlat check: error: unexpected argument true; see vmlat check --help\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_options_everything_is_traced),
		cmocka_unit_test(defaults_are_those_of_the_help),
		cmocka_unit_test(each_end_of_the_five_tuple_is_its_own),
		cmocka_unit_test(any_one_filter_leaves_out_what_is_not_ip),
		cmocka_unit_test(each_option_has_its_long_and_its_short_name),
		cmocka_unit_test(options_without_a_short_name_are_taken),
		cmocka_unit_test(the_buffer_is_a_power_of_two_of_at_least_that_size),
		cmocka_unit_test(device_lists_add_up),
		cmocka_unit_test(a_command_is_everything_behind_the_dashes),
		cmocka_unit_test(dashes_without_a_command_are_wrong),
		cmocka_unit_test(a_wrong_value_names_its_option_and_what_is_wrong),
		cmocka_unit_test(an_unknown_option_is_told_the_nearest),
		cmocka_unit_test(an_option_longer_than_any_is_unknown),
		cmocka_unit_test(an_unknown_letter_is_wrong),
		cmocka_unit_test(an_option_without_its_value_is_wrong),
		cmocka_unit_test(the_beginning_of_a_name_is_enough_when_no_other_has_it),
		cmocka_unit_test(an_option_given_twice_is_wrong),
		cmocka_unit_test(a_stray_word_is_wrong_and_told_where_a_command_stands),
		cmocka_unit_test(flows_may_be_asked_for_by_packets_or_bytes),
		cmocka_unit_test(options_that_contradict_each_other_are_wrong),
		cmocka_unit_test(statistics_may_come_every_so_often_and_with_histograms),
		cmocka_unit_test(icmp_among_others_may_have_a_port),
		cmocka_unit_test(the_help_names_every_option_and_ends_well),
		cmocka_unit_test(the_version_is_data),
		cmocka_unit_test(check_has_the_options_of_its_trace),
		cmocka_unit_test(check_has_no_other_options),
	};

	return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
