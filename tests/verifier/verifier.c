// SPDX-License-Identifier: GPL-2.0
/*
 * What this kernel's verifier says of each program that it would get, by fentry and by kprobe, with
 * every feature on: one line each, "PROGRAM INSTRUCTIONS STATES STACK". INSTRUCTIONS are those that
 * were walked, STACK is the largest frame in bytes. A program that does not load is told with the
 * end of the verifier's log, and the exit status is 1; so is one that does not load where the hooks
 * that others could do without are missing.
 */
#include <bpf/libbpf.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "hook.h"
#include "kernel.h"
#include "vmlat.skel.h"

#define ALL_HOOKS (~0ULL)
#define NO_HOOKS  0ULL

enum { PROGRAMS = 2 * VMLAT_HOOK_COUNT + 1, LOG = 1 << 16, STATS_ONLY = 4, TAIL = 2000 };

struct program {
	char name[64];
	bool refused;
	char log[LOG];
};

static struct program programs[PROGRAMS];
static int program_count;

/* The program that libbpf complained of last. */
static char blamed[64];

static int note_blamed(enum libbpf_print_level level, const char *format, va_list arguments)
{
	char text[128];

	vsnprintf(text, sizeof(text), format, arguments);
	if (level == LIBBPF_WARN)
		sscanf(text, "libbpf: prog '%63[^']'", blamed);
	return 0;
}

static void add_program(const char *name)
{
	for (int i = 0; i < program_count; i++)
		if (!strcmp(programs[i].name, name))
			return;
	snprintf(programs[program_count++].name, sizeof(programs->name), "%s", name);
}

static void add_programs(const struct kernel *kernel, enum attach_mode mode)
{
	for (int id = 0; id < VMLAT_HOOK_COUNT; id++) {
		struct hook_choice choice = hook__choose(kernel, id, mode);

		if (choice.attach)
			add_program(choice.program);
	}
}

/* All that were not refused, in one object that has these hooks. 0, or 1: one more was. */
static int load(const struct kernel *kernel, __u64 attached)
{
	struct vmlat_bpf *object = vmlat_bpf__open();
	int error;

	if (!object)
		return -1;
	object->rodata->features.kfree_skb_reason = kernel->drop_reasons;
	object->rodata->features.attached = attached;
	for (int i = 0; i < program_count; i++) {
		struct bpf_program *program =
			bpf_object__find_program_by_name(object->obj, programs[i].name);

		if (programs[i].refused)
			continue;
		bpf_program__set_autoload(program, true);
		bpf_program__set_log_level(program, STATS_ONLY);
		bpf_program__set_log_buf(program, programs[i].log, LOG);
	}
	blamed[0] = '\0';
	error = vmlat_bpf__load(object);
	vmlat_bpf__destroy(object);
	if (!error)
		return 0;
	for (int i = 0; i < program_count; i++) {
		if (programs[i].refused || strcmp(programs[i].name, blamed))
			continue;
		programs[i].refused = true;
		return 1;
	}
	fprintf(stderr, "the object does not load: %s\n", strerror(-error));
	return -1;
}

/* "stack depth 96+40+0", one frame for each function. */
static unsigned int largest_frame(const char *log)
{
	const char *at = strstr(log, "stack depth ");
	unsigned int largest = 0;
	char *end;

	for (at = at ? at + strlen("stack depth ") : NULL; at; at = *end == '+' ? end + 1 : NULL) {
		unsigned int frame = strtoul(at, &end, 10);

		if (frame > largest)
			largest = frame;
	}
	return largest;
}

static int tell(const struct program *program)
{
	size_t length = strlen(program->log);
	unsigned int instructions, states;
	const char *line = strstr(program->log, "\nprocessed ");

	if (program->refused || !line ||
	    sscanf(line, "\nprocessed %u insns %*[^)]) max_states_per_insn %*u total_states %u",
		   &instructions, &states) != 2) {
		printf("%s does not load: %s\n", program->name,
		       program->log + (length > TAIL ? length - TAIL : 0));
		return 1;
	}
	printf("%s %u %u %u\n", program->name, instructions, states, largest_frame(program->log));
	return 0;
}

static int load_all(const struct kernel *kernel, __u64 attached)
{
	int status;

	do
		status = load(kernel, attached);
	while (status > 0);
	return status;
}

int main(void)
{
	struct kernel kernel;
	int status;

	if (kernel__open(&kernel))
		return 1;
	libbpf_set_print(note_blamed);
	add_programs(&kernel, ATTACH_FENTRY);
	add_programs(&kernel, ATTACH_KPROBE);
	add_program("expire");
	status = load_all(&kernel, ALL_HOOKS);
	for (int i = 0; i < program_count && status >= 0; i++)
		status |= tell(&programs[i]);
	if (!status)
		status = load_all(&kernel, NO_HOOKS);
	for (int i = 0; i < program_count && !status; i++)
		status = programs[i].refused && tell(&programs[i]);
	kernel__close(&kernel);
	return !!status;
}
