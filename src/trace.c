// SPDX-License-Identifier: GPL-2.0
#include "trace.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "changes.h"
#include "cleanup.h"
#include "exit.h"
#include "log.h"
#include "obstacle.h"
#include "report.h"
#include "summary.h"
#include "words.h"

enum {
	POLL_MS = 100,
	START_MS = 50, /* a start that was under way when starts were disarmed is over by then */
	DRAIN_MS = 200, /* and at most this for what is on its way then */
	SWEEP_MS = 500,
	SILENCE_S = 5,
	LAST_SWEEPS = 10, /* at most: a packet that moves is left to the next one */
	CLOCK_READINGS = 5,
	OUTPUT_BYTES = 65536, /* a write at a time */
	PATIENCE_S = 5, /* from a signal to one that ends vmlat at once */
	KILL_MS = 1000, /* from SIGTERM to SIGKILL */
	COLLECT_FLOWS_MS = 1000, /* the kernel has room for some (VMLAT_FLOWS) */
	COLLECT_S = 10, /* the kernel counts in 32 bits, per CPU and bucket */
};

struct trace {
	const struct options *options;
	struct kernel kernel;
	struct devices devices;
	struct changes changes;
	struct tracer *tracer;
	struct report_context report;
	const struct format_ops *format;
	struct summary summary;
	bool enough; /* --count is reached */
	bool write_failed;
};

static __s64 now_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static volatile sig_atomic_t stop_requested, child_ended, progress;
static volatile sig_atomic_t child; /* process of the COMMAND; 0: there is none */

/* The last time that it was asked to end, and had gone on since the time before. */
static volatile struct {
	__s64 ns;
	sig_atomic_t progress;
} asked;

/*
 * Asked again, seconds later, it has not gone on at all: it hangs in a write to what nobody reads. That it
 * is asked twice at once says nothing: timeout(1) signals the process, and its group. The COMMAND ends with it.
 */
static void ask_to_stop(int number)
{
	__s64 now = now_ns(CLOCK_MONOTONIC);

	if (!stop_requested || asked.progress != progress) {
		asked.ns = now;
		asked.progress = progress;
	} else if (now - asked.ns >= PATIENCE_S * 1000000000LL) {
		if (child > 0)
			kill(child, SIGTERM);
		signal(number, SIG_DFL);
		raise(number);
	}
	stop_requested = 1;
}

static void on_signal(int number)
{
	if (number == SIGCHLD)
		child_ended = 1;
	else
		ask_to_stop(number);
}

static void catch_signals(void)
{
	/* waiting ends all the same, but a write goes on: stdio would lose what it has in hand */
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGCHLD, &action, NULL);
}

static void adopt_taps(struct trace *trace)
{
	changes__adopt(&trace->changes, &trace->devices, &trace->options->devices, trace->tracer);
}

static void report_flight(struct trace *trace, const struct vmlat_flight *flight)
{
	struct summary *summary = &trace->summary;
	struct report report;

	if (trace->enough)
		return;
	report__describe(&trace->report, flight, &report);
	trace->format->packet(&trace->report, &report);
	progress++;
	summary->handled++;
	summary->written++;
	trace->enough = trace->options->count && summary->written >= trace->options->count;
}

static void handle_flight(void *context, const struct vmlat_flight *flight)
{
	struct trace *trace = context;

	adopt_taps(trace);
	if (!trace->options->summary)
		report_flight(trace, flight);
	else if (summary__keep(&trace->summary, flight))
		log_warn("out of memory: an example of the slowest packets is not kept");
}

/* Wall clock less CLOCK_MONOTONIC, from the closest of some readings of both. */
static __s64 clock_offset_ns(void)
{
	__s64 closest = INT64_MAX, offset = 0;

	for (int i = 0; i < CLOCK_READINGS; i++) {
		__s64 before = now_ns(CLOCK_MONOTONIC), wall = now_ns(CLOCK_REALTIME);
		__s64 gap = now_ns(CLOCK_MONOTONIC) - before;

		if (gap >= closest)
			continue;
		closest = gap;
		offset = wall - before - gap / 2;
	}
	return offset;
}

/* What was written is seen from now on; a failure to write ends the trace. */
static void flush(struct trace *trace)
{
	progress++;
	if (trace->write_failed || (fflush(trace->report.out) == 0 && !ferror(trace->report.out)))
		return;
	trace->write_failed = true;
	log_error("cannot write to %s: %s",
		  trace->options->output ? trace->options->output : "stdout", strerror(errno));
}

/*
 * Waits `timeout_ms` at most for anything to do; 0: not at all. What devices are now is known before
 * the records are told that came meanwhile.
 */
static int poll_once(struct trace *trace, int timeout_ms)
{
	int error = timeout_ms ? tracer__wait(trace->tracer, timeout_ms) : 0;

	if (!error) {
		adopt_taps(trace);
		changes__follow(&trace->changes, &trace->devices, &trace->options->devices,
				trace->tracer, now_ns(CLOCK_MONOTONIC));
		trace->report.clock_offset_ns = clock_offset_ns();
		error = tracer__handle(trace->tracer, !timeout_ms);
		flush(trace);
	}
	if (!error)
		return 0;
	log_error("cannot read the ring buffer: %s", strerror(-error));
	return EXIT_FAILED;
}

/* --- setting up --- */

static int open_output(struct trace *trace)
{
	static char buffer[OUTPUT_BYTES]; /* without one of its own glibc ignores the size */
	const char *path = trace->options->output;
	int fd = path ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666) : STDOUT_FILENO;

	trace->report.out = !path ? stdout : fd >= 0 ? fdopen(fd, "w") : NULL;
	if (!trace->report.out) {
		log_error("--output: cannot create %s: %s", path, strerror(errno));
		return EXIT_FAILED;
	}
	/* a terminal's, too: each poll ends with a flush */
	setvbuf(trace->report.out, buffer, _IOFBF, sizeof(buffer));
	return 0;
}

/* An earlier capture stays until there is another one. */
static void empty_output(const struct trace *trace)
{
	int fd = fileno(trace->report.out);
	struct stat file;

	if (trace->options->output && !fstat(fd, &file) && S_ISREG(file.st_mode) &&
	    ftruncate(fd, 0))
		log_warn("--output: %s cannot be emptied: %s", trace->options->output,
			 strerror(errno));
}

static int open_devices(struct trace *trace)
{
	struct obstacles obstacles = { 0 };
	int error = changes__open(&trace->changes);

	if (!error)
		error = devices__find(&trace->devices, NULL);
	if (error) {
		log_error("the network devices cannot be listed: %s", strerror(-error));
		return EXIT_FAILED;
	}
	devices__name_vms(&trace->devices);
	obstacles__of_vms(&obstacles, &trace->devices, &trace->options->devices);
	error = obstacles__tell(&obstacles);
	if (error)
		return error;
	if (trace->devices.vms_hidden)
		log_warn("VMs have no names here: which tap is whose cannot be seen without "
			 "CAP_SYS_PTRACE (the open files of other users' processes)");
	for (int i = 0; i < VMLAT_SPARES; i++)
		devices__reserve(&trace->devices);
	return devices__select(&trace->devices, &trace->options->devices);
}

/* That of an earlier run would say so too early. */
static void remove_ready_file(const char *path)
{
	struct stat file;

	if (path && !lstat(path, &file) && S_ISREG(file.st_mode))
		unlink(path);
}

static int create_ready_file(const char *path)
{
	cleanup_fclose FILE *file = path ? fopen(path, "we") : NULL;

	if (!path || file)
		return 0;
	log_error("--ready-file: cannot create %s: %s", path, strerror(errno));
	return EXIT_FAILED;
}

static int start_command(struct trace *trace)
{
	char **command = trace->options->command;
	int failure[2], error;

	if (!command)
		return 0;
	if (pipe2(failure, O_CLOEXEC)) {
		log_error("cannot run %s: %s", command[0], strerror(errno));
		return EXIT_FAILED;
	}
	child = fork();
	if (child == 0) {
		signal(SIGPIPE, SIG_DFL);
		if (trace->report.out == stdout)
			dup2(STDERR_FILENO, STDOUT_FILENO); /* nothing but data on stdout */
		execvp(command[0], command);
		error = errno;
		_exit(write(failure[1], &error, sizeof(error)) > 0 ? 126 : 127);
	}
	error = child < 0 ? errno : 0;
	close(failure[1]);
	if (!error && read(failure[0], &error, sizeof(error)) != sizeof(error))
		error = 0; /* the pipe was closed by its exec */
	close(failure[0]);
	if (!error)
		return 0;
	log_error("cannot run %s: %s", command[0], strerror(error));
	return EXIT_FAILED;
}

static void say_ready(const struct trace *trace)
{
	static const char *const directions[] = { "", "TX", "RX", "TX and RX" };
	struct name_list taps = { 0 }, nics = { 0 };

	for (size_t i = 0; i < trace->devices.count; i++) {
		const struct device *device = &trace->devices.all[i];

		if (devices__chosen(device))
			name_list_add(device->tap ? &taps : &nics, device->name, NULL);
	}
	log_info("attached; waiting for %s packets of %s, by %s (Ctrl-C ends)",
		 directions[trace->options->devices.directions], name_list_text(&taps, "no tap"),
		 name_list_text(&nics, "no NIC"));
}

static int begin(struct trace *trace)
{
	struct timespec start;
	int error;

	empty_output(trace);
	clock_gettime(CLOCK_REALTIME, &start);
	trace->format->header(&trace->report, &start);
	flush(trace);
	error = summary__begin(&trace->summary, &trace->report, trace->tracer, trace->format);
	if (error) {
		log_error("cannot read the counters: %s", strerror(-error));
		return EXIT_FAILED;
	}
	tracer__arm(trace->tracer);
	error = create_ready_file(trace->options->ready_file);
	if (error)
		return error;
	say_ready(trace);
	return stop_requested ? EXIT_DONE : start_command(trace);
}

/* --- running --- */

/* Nothing came for so long: what was seen, and what turned it away. */
static void explain_silence(const struct trace *trace)
{
	static const char *const reasons[] = {
#define X(id, name) name,
		VMLAT_REFUSALS(X)
#undef X
	};
	bool summary = trace->options->summary; /* reports are due at its end then */
	struct vmlat_counters counters;
	char refused[512] = "";
	__u64 ended = 0;

	if (tracer__counters(trace->tracer, &counters) || (summary && counters.started))
		return;
	for (int i = 0; i < VMLAT_REFUSAL_COUNT; i++) {
		size_t length = strlen(refused);

		if (counters.refused[i])
			snprintf(refused + length, sizeof(refused) - length, "%s%llu by %s",
				 length ? ", " : "", counters.refused[i], reasons[i]);
	}
	for (int i = 0; i < VMLAT_OUTCOME_COUNT; i++)
		ended += counters.outcomes[i];
	log_info("no %s in %d s: seen %llu packets on the taps and %llu on the NICs; turned "
		 "away: %s; measured: %llu, of which %llu have ended%s",
		 summary ? "packet" : "report", SILENCE_S, counters.seen_tap, counters.seen_nic,
		 refused[0] ? refused : "none", counters.started, ended,
		 ended ? ", below --latency-threshold or not in --outcome" : "");
}

static bool finished(struct trace *trace, __s64 elapsed)
{
	if (stop_requested || trace->enough || trace->write_failed)
		return true;
	if (trace->options->duration_ns && (__u64)elapsed >= trace->options->duration_ns)
		return true;
	if (child_ended && child > 0 && waitpid(child, NULL, WNOHANG) > 0) {
		child = 0;
		return true;
	}
	return false;
}

/* What is to be done every so often, in ns of CLOCK_MONOTONIC. */
struct task {
	__s64 every;
	__s64 next;
};

static bool is_due(struct task *task, __s64 now)
{
	if (now < task->next)
		return false;
	task->next += task->every;
	if (task->next <= now)
		task->next = now + task->every; /* some were missed */
	return true;
}

static int collect(struct trace *trace, int (*collect)(struct summary *summary))
{
	int error = collect(&trace->summary);

	if (!error)
		return 0;
	log_error("the statistics cannot be read: %s", strerror(-error));
	return EXIT_FAILED;
}

/* However long an interval is. Its end collects as well. */
static int collect_statistics(struct trace *trace, struct task *interval, struct task *rest,
			      __s64 now)
{
	if (interval->every && is_due(interval, now)) {
		rest->next = now + rest->every;
		return collect(trace, summary__report_interval);
	}
	return is_due(rest, now) ? collect(trace, summary__collect) : 0;
}

/* Until the interval or the trace is over; POLL_MS at most. */
static int wait_ms(const struct trace *trace, const struct task *interval, __s64 start, __s64 now)
{
	__s64 until = now + POLL_MS * 1000000LL;

	if (interval->every && interval->next < until)
		until = interval->next;
	if (trace->options->duration_ns && start + (__s64)trace->options->duration_ns < until)
		until = start + (__s64)trace->options->duration_ns;
	return until <= now ? 1 : (int)((until - now + 999999) / 1000000);
}

static int run(struct trace *trace)
{
	__s64 start = now_ns(CLOCK_MONOTONIC), now = start, every = trace->options->interval_ns;
	struct task sweep = { SWEEP_MS * 1000000LL, start },
		    flows = { COLLECT_FLOWS_MS * 1000000LL, start },
		    interval = { every, start + every },
		    rest = { COLLECT_S * 1000000000LL, start + COLLECT_S * 1000000000LL };
	bool silent = true;
	int error = 0;

	while (!error && !finished(trace, now - start)) {
		error = poll_once(trace, wait_ms(trace, &interval, start, now));
		now = now_ns(CLOCK_MONOTONIC);
		if (is_due(&sweep, now)) {
			tracer__expire(trace->tracer, trace->options->timeout_ns);
			tracer__forget_upcalls(trace->tracer, trace->options->timeout_ns);
		}
		if (!error && is_due(&flows, now))
			error = collect(trace, summary__collect_flows);
		if (!error)
			error = collect_statistics(trace, &interval, &rest, now);
		if (silent && now - start >= SILENCE_S * 1000000000LL) {
			if (!trace->summary.handled)
				explain_silence(trace);
			silent = false;
		}
	}
	return error;
}

static int report_end(struct trace *trace)
{
	struct accounts accounts = { 0 };
	struct timespec time;
	bool incomplete;
	int error = 0;

	if (trace->options->interval_ns)
		error = summary__report_interval(&trace->summary);
	if (!error)
		error = summary__report_end(&trace->summary, &accounts, !trace->enough);
	if (error) {
		log_error("cannot read the counters: %s", strerror(-error));
		accounts__free(&accounts);
		return EXIT_FAILED;
	}
	clock_gettime(CLOCK_REALTIME, &time);
	trace->format->end(&trace->report, &accounts, &time);
	flush(trace);
	incomplete = accounts__incomplete(&accounts);
	accounts__free(&accounts);
	if (trace->write_failed)
		return EXIT_FAILED;
	if (trace->options->strict && incomplete) {
		log_error("--strict: something was lost or missed, as the summary says");
		return EXIT_INCOMPLETE;
	}
	return EXIT_DONE;
}

static bool all_have_ended(const struct trace *trace)
{
	struct vmlat_counters counters;

	return !tracer__counters(trace->tracer, &counters) && !accounts__open(&counters);
}

static int end(struct trace *trace)
{
	__s64 start = now_ns(CLOCK_MONOTONIC), passed = 0;
	int error = 0;

	tracer__disarm(trace->tracer);
	while (!error && passed < DRAIN_MS * 1000000LL &&
	       (passed < START_MS * 1000000LL || !all_have_ended(trace))) {
		error = poll_once(trace, START_MS);
		passed = now_ns(CLOCK_MONOTONIC) - start;
	}
	for (int i = 0; i < LAST_SWEEPS && tracer__expire(trace->tracer, 0); i++)
		;
	if (!error)
		error = poll_once(trace, 0);
	return error ? error : report_end(trace);
}

static int set_up(struct trace *trace)
{
	struct obstacles obstacles = { 0 };
	int error;

	remove_ready_file(trace->options->ready_file);
	error = kernel__open(&trace->kernel);

	obstacles__of_kernel(&obstacles, &trace->kernel);
	if (!error)
		error = obstacles__tell(&obstacles);
	if (!error)
		error = open_devices(trace);
	if (!error)
		error = open_output(trace); /* which may wait for the other end of a FIFO */
	if (error)
		return error;
	catch_signals();
	trace->report.options = trace->options;
	trace->report.kernel = &trace->kernel;
	trace->report.devices = &trace->devices;
	error = tracer__open(&trace->tracer, trace->options, &trace->kernel, &trace->devices,
			     handle_flight, trace);
	trace->report.tracer = trace->tracer;
	if (!error && tracer__watch(trace->tracer, changes__fd(&trace->changes)))
		log_debug("changes of devices are seen late: %s", strerror(errno));
	if (!error && trace->options->stacks && kernel__reload_symbols(&trace->kernel))
		log_warn("the symbols of BPF programs cannot be read: %s", strerror(errno));
	kernel__forget_types(&trace->kernel);
	return error;
}

static void end_command(void)
{
	__s64 deadline = now_ns(CLOCK_MONOTONIC) + KILL_MS * 1000000LL;

	kill(child, SIGTERM);
	while (waitpid(child, NULL, WNOHANG) == 0) {
		if (now_ns(CLOCK_MONOTONIC) >= deadline)
			kill(child, SIGKILL);
		usleep(10000);
	}
}

/* The last of it may fail only then, on a network's file system or beyond a quota. */
static int close_output(struct trace *trace)
{
	FILE *out = trace->report.out;

	trace->report.out = NULL;
	if (!out || out == stdout || !fclose(out) || trace->write_failed)
		return 0;
	log_error("cannot write to %s: %s", trace->options->output, strerror(errno));
	return EXIT_FAILED;
}

static void tear_down(struct trace *trace)
{
	if (child > 0)
		end_command();
	summary__end(&trace->summary);
	tracer__close(trace->tracer);
	devices__free(&trace->devices);
	changes__close(&trace->changes);
	kernel__close(&trace->kernel);
}

int trace(const struct options *options)
{
	static const struct format_ops *const formats[] = {
		[FORMAT_TEXT] = &text_format,
		[FORMAT_JSON] = &json_format,
		[FORMAT_CSV] = &csv_format,
	};
	struct trace trace = { .options = options, .format = formats[options->format] };
	int error, closed;

	signal(SIGPIPE, SIG_IGN); /* a write says so as well */
	error = set_up(&trace);
	if (!error)
		error = begin(&trace);
	if (!error)
		error = run(&trace);
	if (!error)
		error = end(&trace);
	closed = close_output(&trace);
	tear_down(&trace);
	return error ? error : closed;
}
