// SPDX-License-Identifier: GPL-2.0
/* Rows as they are, byte by byte. */
#include "sample_statistics.h"

static const char names[] =
	"time,direction,vm,vm_interface,phy_interface,peer_vm_interface,protocol,src_ip,src_port,"
	"dst_ip,dst_port,vlan,length,ip_id,tcp_seq,fragment,pid,comm,outcome,reason,where,upcall,"
	"batch,segments,segments_lost,exits,exits_beyond,stages_beyond,total_ns,sample,";

enum { FIELDS = 64 };

struct csv_row {
	char text[4096];
	char *field[FIELDS];
	size_t count;
};

/* Takes a row apart by RFC 4180, and nothing else. */
static void parse_row(struct csv_row *row, const char *line)
{
	char *to = row->text;
	bool more = true;

	memset(row, 0, sizeof(*row));
	assert_true(strlen(line) < sizeof(row->text));
	while (more) {
		bool quoted = *line == '"';

		line += quoted;
		assert_true(row->count < FIELDS);
		row->field[row->count++] = to;
		while (quoted ? *line != '"' || line[1] == '"' : !strchr(",\n", *line)) {
			assert_true(*line && (quoted || !strchr("\"\r", *line)));
			line += *line == '"';
			*to++ = *line++;
		}
		*to++ = '\0';
		line += quoted;
		more = *line == ',';
		assert_true(more || !strcmp(line, "\n"));
		line++;
	}
}

static size_t column_of(const char *name)
{
	size_t column = 0;

	for (const char *at = names; *at; at = strchr(at, ',') + 1, column++)
		if (!strncmp(at, name, strlen(name)) && at[strlen(name)] == ',')
			return column;
	fail_msg("no column %s", name);
	return 0;
}

static const char *field(const struct csv_row *row, size_t column)
{
	assert_in_range(column, 0, row->count - 1);
	return row->field[column];
}

static void assert_field(struct sample *sample, const char *name, const char *expected)
{
	struct csv_row row = { 0 };

	parse_row(&row, packet_written(sample, &csv_format));
	assert_string_equal(field(&row, column_of(name)), expected);
}

static void the_header_names_each_stage_of_the_table(void **state)
{
	struct csv_row row = { 0 };
	const char *line = header_written(*state, &csv_format);
	size_t before;

	assert_memory_equal(line, names, sizeof(names) - 1);
	parse_row(&row, line);
	before = row.count - VMLAT_STAGE_COUNT;
	assert_int_equal(column_of("sample"), before - 1);
	assert_string_equal(field(&row, before + VMLAT_STAGE_TAP_IN), "stage_0_tap_ns");
	assert_string_equal(field(&row, before + VMLAT_STAGE_NIC), "stage_0_nic_ns");
	assert_string_equal(field(&row, before + VMLAT_STAGE_TAP_OUT), "stage_6_tap_ns");
	assert_string_equal(field(&row, before + VMLAT_STAGE_DRIVER), "stage_driver_ns");
}

/* Of the table that there is, the rest empty: stages may be added. */
static void a_packet_is_a_row(void **state)
{
	static const char expected[] =
		"2026-01-15T10:30:45.123456789Z,tx,web1,vnet0,eth0,,tcp,192.168.1.10,8080,"
		"192.168.1.20,80,,142,4321,4000000000,,1234,vhost-1201,completed,,,false,3,1,0,"
		"eth0:completed:33958,0,0,33958,1,0,,,12345,,,28023,33146,,33958";
	const char *line = packet_written(*state, &csv_format), *rest = line + sizeof(expected) - 1;

	assert_memory_equal(line, expected, sizeof(expected) - 1);
	assert_int_equal(strspn(rest, ","), VMLAT_STAGE_COUNT - VMLAT_STAGE_DRIVER - 1);
	assert_string_equal(rest + strspn(rest, ","), "\n");
}

static void what_is_not_known_is_empty(void **state)
{
	struct sample *sample = *state;
	struct csv_row names_row = { 0 }, row = { 0 };

	sample->flight = (struct vmlat_flight){
		.begin_ns = BEGIN_NS, .visits = 1, .segments = 1, .direction = VMLAT_RX
	};
	sample->flight.visit[0].ns = sample->flight.last_ns = BEGIN_NS;
	parse_row(&names_row, header_written(sample, &csv_format));
	parse_row(&row, packet_written(sample, &csv_format));
	assert_int_equal(row.count, names_row.count);
	for (const char *name = "vm\0vm_interface\0peer_vm_interface\0protocol\0src_ip\0src_port\0"
				"dst_ip\0dst_port\0vlan\0ip_id\0tcp_seq\0fragment\0pid\0comm\0"
				"reason\0where\0exits\0";
	     *name; name += strlen(name) + 1)
		assert_string_equal(field(&row, column_of(name)), "");
	assert_string_equal(field(&row, column_of("segments_lost")), "0");
	assert_string_equal(field(&row, column_of("total_ns")), "0");
}

static void name_vm(struct sample *sample, const char *name)
{
	snprintf(host_device(&sample->devices, "vnet0")->vm, VM_NAME, "%s", name);
}

static void a_name_may_have_what_separates_fields(void **state)
{
	struct sample *sample = *state;

	name_vm(sample, "a,b");
	assert_field(sample, "vm", "a,b");
	name_vm(sample, "\"\"");
	assert_field(sample, "vm", "\"\"");
	assert_non_null(strstr(sample->text, ",tx,\"\"\"\"\"\",vnet0,"));
	name_vm(sample, "two\r\nlines");
	assert_field(sample, "vm", "two\r\nlines");
	name_vm(sample, "\xc3\xa4\xff");
	assert_field(sample, "vm", "\xc3\xa4\xef\xbf\xbd");
	name_vm(sample, "plain name");
	assert_field(sample, "vm", "plain name");
	assert_non_null(strstr(sample->text, ",tx,plain name,vnet0,"));
	memset(sample->flight.comm, ',', VMLAT_COMM); /* all of its bytes */
	assert_field(sample, "comm", ",,,,,,,,,,,,,,,,");
}

static void lists_are_one_field(void **state)
{
	struct sample *sample = *state;
	struct vmlat_flow *flow = &sample->flight.flow;

	flow->vlans = 2;
	flow->vlan_tci[0] = 0x2064;
	flow->vlan_tci[1] = 200;
	assert_field(sample, "vlan", "100.200");
	add_exit(&sample->flight, 7, 40000, VMLAT_DROPPED);
	add_exit(&sample->flight, 99, 0, VMLAT_DROPPED);
	sample->flight.exit[2].closed = 0;
	assert_field(
		sample, "exits",
		"eth0:completed:33958 vnet1:dropped:40000 ifindex_99_of_namespace_4026531840::");
}

static void of_a_stage_that_came_again_it_is_the_first_visit(void **state)
{
	struct sample *sample = *state;
	struct csv_row row = { 0 };

	add_visit(&sample->flight, VMLAT_STAGE_DATAPATH, VMLAT_HOOK_OVS_DP_PROCESS_PACKET, 50000);
	parse_row(&row, packet_written(sample, &csv_format));
	assert_string_equal(field(&row, column_of("sample") + 1 + VMLAT_STAGE_DATAPATH), "12345");
	assert_string_equal(field(&row, column_of("total_ns")), "50000");
}

static void a_dropped_packet_says_where_and_why(void **state)
{
	struct sample *sample = *state;

	sample->flight.outcome = VMLAT_DROPPED;
	sample->flight.location = 0xffffffffc0300010;
	sample->flight.has_reason = 1;
	sample->flight.reason = 71;
	assert_field(sample, "outcome", "dropped");
	assert_field(sample, "where", "tun_net_xmit");
	assert_field(sample, "reason", "FULL_RING");
}

/* --- what is no packet --- */

/* Nothing on the output, and what is on stderr. */
static int write_end(void *argument)
{
	struct sample *sample = argument;
	struct statistics statistics = sample_statistics(sample);
	struct accounts accounts = sample_accounts();
	bool any = statistics_written(sample, &csv_format, &statistics, true)[0] != '\0';

	any |= end_written(sample, &csv_format, &accounts)[0] != '\0';
	statistics__free(&statistics);
	return any;
}

static void statistics_and_summary_of_a_trace_of_packets_are_no_data(void **state)
{
	struct sample *sample = *state;
	struct run run;

	run_apart(&run, write_end, sample);
	assert_int_equal(run.code, 0);
	assert_non_null(strstr(run.err, "p99.9"));
	assert_non_null(strstr(run.err, "=== Summary: "));
	sample->options.quiet = true;
	run_apart(&run, write_end, sample);
	assert_int_equal(run.code, 0);
	assert_string_equal(run.err, "");
}

/* True: there are other lines on the output than rows. */
static int write_interval(void *argument)
{
	struct sample *sample = argument;
	struct statistics statistics = { 0 };
	bool any;

	any = statistics_written(sample, &csv_format, &statistics, false)[0] != '\0';
	statistics__free(&statistics);
	return any;
}

static void of_a_summary_the_accounts_of_each_interval_are_no_data(void **state)
{
	struct sample *sample = *state;
	struct run run;

	sample->options.summary = true;
	run_apart(&run, write_interval, sample);
	assert_int_equal(run.code, 0);
	assert_ptr_equal(
		strstr(run.err, "=== Interval: 2026-01-15T10:30:45.123456789Z, 10.000 s ===\n"),
		run.err);
	assert_non_null(strstr(run.err, "  Traffic: "));
	sample->options.quiet = true;
	run_apart(&run, write_interval, sample);
	assert_int_equal(run.code, 0);
	assert_string_equal(run.err, "");
}

static void of_a_summary_each_segment_is_a_row(void **state)
{
	struct sample *sample = *state;
	struct statistics statistics = { 0 };
	struct device *tap = host_device(&sample->devices, "vnet0");

	sample->options.summary = true;
	sample->options.sample = 8;
	assert_string_equal(header_written(sample, &csv_format),
			    "time,interval_s,whole,direction,vm_interface,vm,from,to,total,count,"
			    "min_ns,p50_ns,p90_ns,p99_ns,p999_ns,max_ns,mean_ns,sample\n");
	add_segment(&statistics, tap, VMLAT_TX, VMLAT_STAGE_TAP_IN, VMLAT_STAGE_DRIVER, 2, 10, 10);
	add_total(&statistics, tap, VMLAT_TX, 2, 10, 10);
	assert_string_equal(statistics_written(sample, &csv_format, &statistics, true),
			    "2026-01-15T10:30:45.123456789Z,10.0004,true,tx,vnet0,web1,tap,driver,"
			    "false,2,10,10,20,20,20,20,15,8\n"
			    "2026-01-15T10:30:45.123456789Z,10.0004,true,tx,vnet0,web1,,,true,2,10,"
			    "10,20,20,20,20,15,8\n");
	statistics__free(&statistics);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		sample_test(the_header_names_each_stage_of_the_table),
		sample_test(a_packet_is_a_row),
		sample_test(what_is_not_known_is_empty),
		sample_test(a_name_may_have_what_separates_fields),
		sample_test(lists_are_one_field),
		sample_test(of_a_stage_that_came_again_it_is_the_first_visit),
		sample_test(a_dropped_packet_says_where_and_why),
		sample_test(statistics_and_summary_of_a_trace_of_packets_are_no_data),
		sample_test(of_a_summary_each_segment_is_a_row),
		sample_test(of_a_summary_the_accounts_of_each_interval_are_no_data),
	};

	return cmocka_run_group_tests_name("csv", tests, NULL, NULL);
}
