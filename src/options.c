// SPDX-License-Identifier: GPL-2.0
#include "options.h"

#include <argp.h>
#include <stdlib.h>
#include <string.h>

#include "exit.h"
#include "log.h"
#include "parse.h"
#include "version.h"

enum {
	OPT_SRC_PORT = 256,
	OPT_DST_PORT,
	OPT_VM,
	OPT_OUTCOME,
	OPT_STACK,
	OPT_ATTACH,
	OPT_FLIGHTS,
	OPT_TIMEOUT,
	OPT_BUFFER,
	OPT_READY_FILE,
	OPT_INTERVAL,
	OPT_HISTOGRAM,
	OPT_SAMPLE,
	OPT_TOP,
	OPT_TOP_BY,
	OPT_STRICT,
};

enum {
	DEFAULT_FLIGHTS = 16384,
	MAX_FLIGHTS = 1 << 22,
	DEFAULT_TIMEOUT_S = 5,
	DEFAULT_BUFFER_KIB = 8192,
	MAX_BUFFER_KIB = 1 << 20,
	MAX_SAMPLE = 1000000,
	MAX_TOP = 1000,
};

const char *argp_program_version = "vmlat " VMLAT_VERSION;

static const char doc[] =
	"Where do a VM's packets spend their time on this host? Traces each through tap, Open "
	"vSwitch and NIC, and reports its latency segment by segment.\v"
	"Without -i, --vm and -p: every tap of the host, and the NICs that lead to a switch. "
	"-i, --vm and -p take comma separated lists and may be repeated.\n\n"
	"Examples:\n"
	"  vmlat                                     every packet of every VM, both ways\n"
	"  vmlat -d tx -s 10.0.0.2 -i vnet0 -p eth0  what one VM sends\n"
	"  vmlat --vm web1 -P tcp --dst-port 443 -l 500\n"
	"                                            its HTTPS packets that take 500 us or more\n"
	"  vmlat -f json -o packets.json -t 60       one minute, for a script\n"
	"  vmlat -i vnet0 -f json -- ping -c 5 10.0.0.2\n"
	"                                            as long as a command runs\n\n"
	"vmlat check says whether and how this host can be traced: vmlat check --help.\n\n"
	"Exit codes: 0 done; 1 failed while running; 2 wrong usage; 3 this host cannot be traced; "
	"4 with --strict: something was lost or missed.";

static const char check_doc[] =
	"Can this host be traced, and how? Says what the kernel has, the taps, VMs and NICs, which hook "
	"each stage would use and why not a better one, and which traffic of VMs no hook can see. "
	"Attaches nothing, and needs no privilege: without it, says what it could not look at.\v"
	"-d, -i, --vm, -p and --attach are those of the trace that is meant.\n\n"
	"Exit codes: 0 it can be traced; 2 wrong usage; 3 it cannot, with the reasons.";

static const struct argp_option check_table[] = {
	{ "direction", 'd', "tx|rx|both", 0, "tx: leaving the VM; rx: entering it (both)", 0 },
	{ "vm-interface", 'i', "LIST", 0, "taps, by name", 0 },
	{ "vm", OPT_VM, "LIST", 0, "VMs, by the name of the running QEMU: all their taps", 0 },
	{ "phy-interface", 'p', "LIST", 0, "physical NICs, as the other end", 0 },
	{ "attach", OPT_ATTACH, "auto|fentry|kprobe", 0,
	  "how to attach to functions (auto: the cheapest that works, per hook)", 0 },
	{ "format", 'f', "text|json", 0, "json is one JSON object on one line (text)", 0 },
	{ "output", 'o', "FILE", 0, "to FILE instead of stdout", 0 },
	{ "quiet", 'q', NULL, 0, "errors only on stderr", 0 },
	{ "verbose", 'v', NULL, 0, "more on stderr", 0 },
	{ NULL, 0, NULL, 0, "Help:", -1 },
	{ NULL, 'h', NULL, OPTION_HIDDEN, "the same as --help", -1 },
	{ 0 }
};

static const struct argp_option table[] = {
	{ NULL, 0, NULL, 0, "Which packets:", 1 },
	{ "direction", 'd', "tx|rx|both", 0, "tx: leaving the VM; rx: entering it (both)", 0 },
	{ "src-ip", 's', "ADDR[/LEN]", 0, "IPv4 or IPv6, as in the packet's header", 0 },
	{ "dst-ip", 'D', "ADDR[/LEN]", 0, "", 0 },
	{ "src-port", OPT_SRC_PORT, "PORT[-PORT]", 0, "TCP and UDP", 0 },
	{ "dst-port", OPT_DST_PORT, "PORT[-PORT]", 0, "", 0 },
	{ "protocol", 'P', "LIST", 0, "tcp, udp, icmp (v4 and v6), any (any)", 0 },
	{ "sample", OPT_SAMPLE, "N", 0, "one flow in N, both ways; the others cost less (1)", 0 },
	{ NULL, 0, NULL, 0, "Where:", 2 },
	{ "vm-interface", 'i', "LIST", 0, "taps, by name", 0 },
	{ "vm", OPT_VM, "LIST", 0, "VMs, by the name of the running QEMU: all their taps", 0 },
	{ "phy-interface", 'p', "LIST", 0, "physical NICs, as the other end", 0 },
	{ NULL, 0, NULL, 0, "What to report, and when to stop:", 3 },
	{ "latency-threshold", 'l', "US", 0,
	  "packets whose total is at least US microseconds (decimals allowed)", 0 },
	{ "outcome", OPT_OUTCOME, "LIST", 0,
	  "packets that ended so: completed, dropped, diverted, merged, upcall_lost, expired, "
	  "evicted, ambiguous, in_flight (all but diverted, merged and in_flight)",
	  0 },
	{ "count", 'c', "N", 0, "stop after N reported packets", 0 },
	{ "duration", 't', "SEC", 0, "stop after SEC seconds (decimals allowed)", 0 },
	{ "summary", 'S', NULL, 0, "statistics instead of packets; and the slowest of these", 0 },
	{ "interval", OPT_INTERVAL, "SEC", 0,
	  "with --summary: statistics every SEC seconds, too (decimals allowed)", 0 },
	{ "histogram", OPT_HISTOGRAM, NULL, 0, "with statistics, the distributions", 0 },
	{ "top", OPT_TOP, "N", 0, "with statistics, the N flows that had the most", 0 },
	{ "top-by", OPT_TOP_BY, "packets|bytes", 0, "of what (packets)", 0 },
	{ "stack", OPT_STACK, NULL, 0, "kernel stack at each stage", 0 },
	{ NULL, 0, NULL, 0, "Output:", 4 },
	{ "format", 'f', "text|json|csv", 0,
	  "json is JSON lines; csv a row for each packet or segment (text)", 0 },
	{ "output", 'o', "FILE", 0, "reports to FILE instead of stdout", 0 },
	{ "ready-file", OPT_READY_FILE, "FILE", 0, "created once every hook is attached", 0 },
	{ "strict", OPT_STRICT, NULL, 0, "exit 4 if anything was lost or missed", 0 },
	{ "quiet", 'q', NULL, 0, "errors only on stderr", 0 },
	{ "verbose", 'v', NULL, 0, "more on stderr, and the skb's address at each stage", 0 },
	{ NULL, 0, NULL, 0, "How:", 5 },
	{ "attach", OPT_ATTACH, "auto|fentry|kprobe", 0,
	  "how to attach to functions (auto: the cheapest that works, per hook)", 0 },
	{ "flights", OPT_FLIGHTS, "N", 0, "packets that may be in flight at once (16384)", 0 },
	{ "timeout", OPT_TIMEOUT, "SEC", 0, "a packet not seen for so long has expired (5)", 0 },
	{ "buffer", OPT_BUFFER, "KIB", 0, "of the ring buffer, rounded up to a power of two (8192)",
	  0 },
	{ NULL, 0, NULL, 0, "Help:", -1 },
	{ NULL, 'h', NULL, OPTION_HIDDEN, "the same as --help", -1 },
	{ 0 }
};

struct parser {
	struct options *options;
	bool seen[OPT_STRICT + 1];
};

static void wrong(struct argp_state *state, const char *option, const char *value, const char *why)
{
	argp_failure(state, EXIT_USAGE, 0, "error: --%s=%s %s; see vmlat --help", option, value,
		     why);
}

static const char *name_of(int key)
{
	for (const struct argp_option *option = table; option->name || option->doc; option++)
		if (option->key == key)
			return option->name;
	return "?";
}

/* Appends the parts of a comma separated list to a NULL terminated array. */
static const char *add_list(const char *text, char ***list)
{
	size_t count = 0;

	while (*list && (*list)[count])
		count++;
	for (;;) {
		const char *comma = strchrnul(text, ',');
		char **longer;

		if (comma == text)
			return "has an empty name in it";
		longer = reallocarray(*list, count + 2, sizeof(*longer));
		if (!longer)
			return "does not fit into memory";
		*list = longer;
		longer[count++] = strndup(text, comma - text);
		longer[count] = NULL;
		if (!*comma)
			return NULL;
		text = comma + 1;
	}
}

static const char *parse_format(const char *text, enum format *format)
{
	if (!strcmp(text, "text"))
		*format = FORMAT_TEXT;
	else if (!strcmp(text, "json"))
		*format = FORMAT_JSON;
	else if (!strcmp(text, "csv"))
		*format = FORMAT_CSV;
	else
		return "is none of text, json, csv";
	return NULL;
}

static const char *parse_attach(const char *text, enum attach_mode *mode)
{
	if (!strcmp(text, "auto"))
		*mode = ATTACH_AUTO;
	else if (!strcmp(text, "fentry"))
		*mode = ATTACH_FENTRY;
	else if (!strcmp(text, "kprobe"))
		*mode = ATTACH_KPROBE;
	else
		return "is none of auto, fentry, kprobe";
	return NULL;
}

static const char *parse_top_by(const char *text, bool *by_bytes)
{
	*by_bytes = !strcmp(text, "bytes");
	return *by_bytes || !strcmp(text, "packets") ? NULL : "is neither packets nor bytes";
}

static const char *parse_buffer(const char *text, __u64 *bytes)
{
	const char *error = parse_number(text, 4, MAX_BUFFER_KIB, bytes);
	__u64 kib = 4;

	if (error)
		return "is no size from 4 to 1048576 KiB";
	while (kib < *bytes)
		kib *= 2;
	*bytes = kib * 1024;
	return NULL;
}

static const char *parse_positive_time(const char *text, __u64 *ns)
{
	const char *error = parse_time(text, 1000000000, ns);

	return error ? error : *ns ? NULL : "must be more than 0";
}

/* What is counted of an interval has 32 bits for each CPU. */
static const char *parse_interval(const char *text, __u64 *ns)
{
	const char *error = parse_positive_time(text, ns);

	return !error && *ns > 3600 * 1000000000ULL ? "is more than an hour" : error;
}

/* Which packets, and where: NULL or what is wrong; *known is false for other options. */
static const char *parse_selection(int key, char *text, struct options *options, bool *known)
{
	struct vmlat_filter *filter = &options->filter;

	switch (key) {
	case 'd':
		return parse_direction(text, &options->devices.directions);
	case 's':
		return parse_prefix(text, &filter->src);
	case 'D':
		return parse_prefix(text, &filter->dst);
	case OPT_SRC_PORT:
		return parse_ports(text, &filter->src_port);
	case OPT_DST_PORT:
		return parse_ports(text, &filter->dst_port);
	case 'P':
		return parse_protocols(text, &filter->protocols);
	case OPT_SAMPLE:
		return parse_number(text, 1, MAX_SAMPLE, &options->sample)
			       ? "is no number from 1 to 1000000"
			       : NULL;
	case 'i':
		return add_list(text, &options->devices.taps);
	case OPT_VM:
		return add_list(text, &options->devices.vms);
	case 'p':
		return add_list(text, &options->devices.nics);
	default:
		*known = false;
		return NULL;
	}
}

static const char *parse_value(int key, char *text, struct options *options, bool *known)
{
	switch (key) {
	case 'l':
		return parse_time(text, 1000, &options->threshold_ns);
	case OPT_OUTCOME:
		return parse_outcomes(text, &options->outcomes);
	case 'c':
		return parse_number(text, 1, ~0ULL, &options->count)
			       ? "is no number of packets, 1 or more"
			       : NULL;
	case 't':
		return parse_positive_time(text, &options->duration_ns);
	case OPT_INTERVAL:
		return parse_interval(text, &options->interval_ns);
	case OPT_TOP:
		return parse_number(text, 1, MAX_TOP, &options->top) ? "is no number from 1 to 1000"
								     : NULL;
	case OPT_TOP_BY:
		return parse_top_by(text, &options->top_by_bytes);
	case 'f':
		return parse_format(text, &options->format);
	case 'o':
		options->output = text;
		return NULL;
	case OPT_READY_FILE:
		options->ready_file = text;
		return NULL;
	case OPT_ATTACH:
		return parse_attach(text, &options->attach);
	case OPT_FLIGHTS:
		return parse_number(text, 16, MAX_FLIGHTS, &options->flights)
			       ? "is no number from 16 to 4194304"
			       : NULL;
	case OPT_TIMEOUT:
		return parse_positive_time(text, &options->timeout_ns);
	case OPT_BUFFER:
		return parse_buffer(text, &options->buffer_bytes);
	default:
		*known = false;
		return NULL;
	}
}

static bool parse_switch(int key, struct options *options)
{
	switch (key) {
	case 'S':
		options->summary = true;
		return true;
	case OPT_HISTOGRAM:
		options->histogram = true;
		return true;
	case OPT_STACK:
		options->stacks = true;
		return true;
	case OPT_STRICT:
		options->strict = true;
		return true;
	case 'q':
		options->quiet = true;
		return true;
	case 'v':
		options->verbose = true;
		return true;
	default:
		return false;
	}
}

static bool is_list(int key)
{
	return key == 'i' || key == 'p' || key == OPT_VM;
}

/* A table has no room for these. */
static void check_csv(struct argp_state *state, const struct options *options)
{
	const struct {
		bool wanted;
		const char *why, *who;
	} others[] = {
		{ options->top, "has rows of packets or segments, and none of flows", "--top" },
		{ options->stacks, "has no stacks", "--stack" },
		{ options->histogram, "has no distributions", "--histogram" },
		{ options->what == COMMAND_CHECK, "is of packets", "check" },
	};

	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		if (others[i].wanted)
			argp_failure(state, EXIT_USAGE, 0,
				     "error: --format=csv %s: %s has text and json", others[i].why,
				     others[i].who);
}

/* What no single option can see. */
static void check_together(struct argp_state *state, const struct parser *parser)
{
	const struct options *options = parser->options;
	const struct vmlat_filter *filter = &options->filter;
	bool ports = filter->src_port.low || filter->src_port.high != 65535 ||
		     filter->dst_port.low || filter->dst_port.high != 65535;

	if (filter->src.family && filter->dst.family && filter->src.family != filter->dst.family)
		argp_failure(state, EXIT_USAGE, 0,
			     "error: --src-ip and --dst-ip contradict each other: one is IPv4, the "
			     "other IPv6, and no packet has both");
	if (ports && filter->protocols == VMLAT_ICMP)
		argp_failure(state, EXIT_USAGE, 0,
			     "error: --protocol=icmp and a port contradict each other: ICMP has no "
			     "ports");
	if (options->interval_ns && !options->summary)
		argp_failure(state, EXIT_USAGE, 0,
			     "error: --interval is of statistics: --summary --interval=SEC");
	if (options->count && options->summary)
		argp_failure(state, EXIT_USAGE, 0,
			     "error: --count and --summary contradict each other: packets are not "
			     "reported one by one; --duration ends a summary");
	if (parser->seen[OPT_TOP_BY] && !options->top)
		argp_failure(state, EXIT_USAGE, 0,
			     "error: --top-by says by what, --top how many flows: --top=N");
	if (options->format == FORMAT_CSV)
		check_csv(state, options);
	if (options->quiet && options->verbose)
		argp_failure(state, EXIT_USAGE, 0,
			     "error: --quiet and --verbose contradict each other");
}

static error_t parse_option(int key, char *text, struct argp_state *state)
{
	struct parser *parser = state->input;
	struct options *options = parser->options;
	const char *error;
	bool known = true;

	if (key == ARGP_KEY_ARG)
		argp_failure(state, EXIT_USAGE, 0,
			     options->what == COMMAND_CHECK
				     ? "error: unexpected argument %s; see vmlat check --help"
				     : "error: unexpected argument %s (a command to run stands "
				       "behind --); see vmlat --help",
			     text);
	if (key == ARGP_KEY_END)
		check_together(state, parser);
	if (key == 'h')
		argp_state_help(state, stdout, ARGP_HELP_STD_HELP); /* ends the program */
	if (parse_switch(key, options))
		return 0;
	if (!text)
		return ARGP_ERR_UNKNOWN;
	error = parse_selection(key, text, options, &known);
	if (!known) {
		known = true;
		error = parse_value(key, text, options, &known);
	}
	if (!known)
		return ARGP_ERR_UNKNOWN;
	if (error)
		wrong(state, name_of(key), text, error);
	if (parser->seen[key] && !is_list(key))
		argp_failure(state, EXIT_USAGE, 0, "error: --%s is given twice", name_of(key));
	parser->seen[key] = true;
	return 0;
}

/* getopt only says that an option is unknown: name the nearest. */
static int check_names(const struct argp_option *options, int argc, char **argv)
{
	const char *names[64] = { "help", "version", "usage" };
	size_t count = 3;

	for (const struct argp_option *option = options; option->name || option->doc; option++)
		if (option->name)
			names[count++] = option->name;
	for (int i = 1; i < argc; i++) {
		size_t length = strcspn(argv[i], "="), matches = 0;
		char given[64];
		const char *nearest;

		if (strncmp(argv[i], "--", 2))
			continue;
		for (size_t n = 0; n < count; n++)
			matches += !strncmp(argv[i] + 2, names[n], length - 2);
		if (matches)
			continue;
		snprintf(given, sizeof(given), "%.*s", (int)length - 2, argv[i] + 2);
		nearest = nearest_name(given, names, count);
		log_error("there is no option --%s%s%s%s; see %s --help", given,
			  nearest ? "; did you mean --" : "", nearest ? nearest : "",
			  nearest ? "?" : "", options == table ? "vmlat" : "vmlat check");
		return EXIT_USAGE;
	}
	return 0;
}

static void set_defaults(struct options *options)
{
	memset(options, 0, sizeof(*options));
	options->devices.directions = VMLAT_BOTH;
	options->outcomes = ((1U << VMLAT_OUTCOME_COUNT) - 1) & ~(1U << VMLAT_DIVERTED) &
			    ~(1U << VMLAT_MERGED) & ~(1U << VMLAT_IN_FLIGHT);
	options->sample = 1;
	options->flights = DEFAULT_FLIGHTS;
	options->timeout_ns = DEFAULT_TIMEOUT_S * 1000000000ULL;
	options->buffer_bytes = DEFAULT_BUFFER_KIB * 1024;
	options->filter.src_port.high = 65535;
	options->filter.dst_port.high = 65535;
}

/* Cuts off the command that is to be traced. */
static int take_command(struct options *options, int *argc, char **argv)
{
	for (int i = 1; i < *argc; i++) {
		if (strcmp(argv[i], "--"))
			continue;
		if (!argv[i + 1]) {
			log_error("-- without a command behind it");
			return EXIT_USAGE;
		}
		options->command = argv + i + 1;
		*argc = i;
	}
	return 0;
}

static int parse(struct options *options, const struct argp *argp, int argc, char **argv)
{
	struct parser parser = { .options = options };
	struct vmlat_filter *filter = &options->filter;
	int error = check_names(argp->options, argc, argv);

	if (error)
		return error;
	argp_err_exit_status = EXIT_USAGE;
	if (argp_parse(argp, argc, argv, 0, NULL, &parser))
		return EXIT_USAGE;
	filter->active = filter->src.family || filter->dst.family || filter->protocols ||
			 parser.seen[OPT_SRC_PORT] || parser.seen[OPT_DST_PORT];
	return 0;
}

int options__parse(struct options *options, int argc, char **argv)
{
	static char check_name[] = "vmlat check";
	static const struct argp check_argp = { .options = check_table,
						.parser = parse_option,
						.doc = check_doc };
	static const struct argp argp = {
		.options = table, .parser = parse_option, .doc = doc, .args_doc = "[-- COMMAND...]"
	};
	int error;

	set_defaults(options);
	if (argc > 1 && !strcmp(argv[1], "check")) {
		options->what = COMMAND_CHECK;
		argv[1] = check_name;
		return parse(options, &check_argp, argc - 1, argv + 1);
	}
	error = take_command(options, &argc, argv);
	return error ? error : parse(options, &argp, argc, argv);
}

static void free_list(char **list)
{
	for (char **name = list; name && *name; name++)
		free(*name);
	free(list);
}

void options__free(struct options *options)
{
	free_list(options->devices.taps);
	free_list(options->devices.vms);
	free_list(options->devices.nics);
}
