// SPDX-License-Identifier: GPL-2.0
/*
 * What this kernel's verifier says of each program that it would get, by fentry and by kprobe, with
 * every feature on: one line each, "PROGRAM INSTRUCTIONS STATES FRAME CHAIN FRAMES". INSTRUCTIONS
 * are those that were walked, FRAME is the largest frame in bytes; CHAIN is the most that functions
 * that call each other have together, as check_max_stack_depth adds it up (at most 512), FRAMES the
 * most that are on the stack at a time (at most 8). Each is loaded twice, the second time where the
 * hooks that others could do without are missing, and each figure is the larger one. A program that
 * does not load is told with the end of the verifier's log, and the exit status is 1. The last line
 * is "# N programs".
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
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

enum { PROGRAMS = 2 * VMLAT_HOOK_COUNT + 2, LOG = 1 << 16, STATS_ONLY = 4, TAIL = 2000 };
enum { FUNCTIONS = 256, FRAME_UNIT = 32, FUNCTION_NAME = 48 };

/* A function of a program, or a call that begins there. */
struct function {
	size_t start; /* instruction */
	unsigned int frame, chain, frames; /* as above, of this function */
};

struct program {
	struct function functions[FUNCTIONS]; /* in the order of their instructions */
	size_t function_count;
	char names[FUNCTIONS][FUNCTION_NAME]; /* of these, as libbpf put them together */
	size_t name_count;
	const char *unknown; /* why the frames are not known; NULL: they are */
	unsigned int instructions, states, frame, chain, frames; /* the most that there were */
	bool refused;
	char name[64];
	char log[LOG];
};

static struct program programs[PROGRAMS];
static int program_count;

static struct program *program_named(const char *name)
{
	for (int i = 0; i < program_count; i++)
		if (!strcmp(programs[i].name, name))
			return &programs[i];
	return NULL;
}

/* The program that libbpf complained of last, and its last words. */
static char blamed[64], said[256];

/* Nothing but libbpf's words says which function it puts behind a program's others. */
static void note_function(const char *words)
{
	char program_name[64], name[FUNCTION_NAME] = "";
	struct program *program;

	if (sscanf(words, "libbpf: prog '%63[^']': added %*u insns from sub-prog '%47[^']'",
		   program_name, name) != 2)
		return;
	program = program_named(program_name);
	if (program && program->name_count < FUNCTIONS)
		memcpy(program->names[program->name_count++], name, sizeof(name));
}

static int note_words(enum libbpf_print_level level, const char *format, va_list arguments)
{
	char words[sizeof(said)];

	vsnprintf(words, sizeof(words), format, arguments);
	if (level == LIBBPF_DEBUG)
		note_function(words);
	if (level != LIBBPF_WARN)
		return 0;
	memcpy(said, words, sizeof(said));
	sscanf(said, "libbpf: prog '%63[^']'", blamed);
	return 0;
}

static void add_program(const char *name)
{
	if (!program_named(name))
		snprintf(programs[program_count++].name, sizeof(programs->name), "%s", name);
}

static void add_programs(const struct kernel *kernel, enum attach_mode mode)
{
	for (int id = 0; id < VMLAT_HOOK_COUNT; id++) {
		struct hook_choice choice = hook__choose(kernel, id, mode);

		if (choice.attach)
			add_program(choice.program);
		if (hook__stand_alone(id, &choice))
			add_program(choice.program);
	}
}

/* --- the stack --- */

/* The instruction that this one calls, or names as a callback; 0: none. */
static size_t called(const struct bpf_insn *insns, size_t at)
{
	const struct bpf_insn *insn = &insns[at];

	if ((insn->code == (BPF_JMP | BPF_CALL) && insn->src_reg == BPF_PSEUDO_CALL) ||
	    (insn->code == (BPF_LD | BPF_IMM | BPF_DW) && insn->src_reg == BPF_PSEUDO_FUNC))
		return at + insn->imm + 1;
	return 0;
}

static struct function *function_at(struct program *program, size_t start)
{
	for (size_t i = 0; i < program->function_count; i++)
		if (program->functions[i].start == start)
			return &program->functions[i];
	return NULL;
}

static int by_start(const void *one, const void *other)
{
	const struct function *a = one, *b = other;

	return a->start < b->start ? -1 : a->start > b->start;
}

static void find_functions(struct program *program, const struct bpf_insn *insns, size_t count)
{
	memset(program->functions, 0, sizeof(program->functions));
	program->function_count = 1; /* at 0 */
	for (size_t at = 0; at < count && program->function_count < FUNCTIONS; at++) {
		size_t start = called(insns, at);

		if (start && !function_at(program, start))
			program->functions[program->function_count++].start = start;
	}
	qsort(program->functions, program->function_count, sizeof(*program->functions), by_start);
}

/* What the kernel kept of the program: the names of its functions, in order. How many, 0 on failure. */
static size_t kept_functions(const struct bpf_program *loaded, const struct btf *btf,
			     const char *names[FUNCTIONS])
{
	static struct bpf_func_info kept[FUNCTIONS];
	struct bpf_prog_info info = { .nr_func_info = FUNCTIONS,
				      .func_info_rec_size = sizeof(*kept),
				      .func_info = (__u64)(unsigned long)kept };
	__u32 size = sizeof(info);

	if (bpf_obj_get_info_by_fd(bpf_program__fd(loaded), &info, &size) ||
	    info.nr_func_info > FUNCTIONS)
		return 0;
	for (size_t i = 0; i < info.nr_func_info; i++)
		names[i] =
			btf__name_by_offset(btf, btf__type_by_id(btf, kept[i].type_id)->name_off);
	return info.nr_func_info;
}

/* The function of that name; the first one is the program, whose own name may be another. */
static struct function *function_named(struct program *program, const char *name, bool first)
{
	for (size_t i = first ? 0 : 1; i < program->function_count; i++)
		if (first || !strcmp(program->names[i], name))
			return &program->functions[i];
	return NULL;
}

/* The number behind the next such line's word; NULL: there is none. */
static const char *number_behind(const char *at, const char *line, const char *word)
{
	at = strstr(at, line);
	at = at ? strstr(at, word) : NULL;
	return at ? at + strlen(word) : NULL;
}

/*
 * A frame for each function that the kernel kept: "stack depth 96+40+0", from 7.3 on a line for each,
 * "subprog 1 (name) ... stack 40". The others are never called, and have none.
 */
static const char *read_frames(struct program *program, const struct bpf_program *loaded,
			       const struct btf *btf)
{
	static const char line[] = "\nsubprog ", word[] = " stack ";
	bool lines = strstr(program->log, line);
	const char *at = lines ? number_behind(program->log, line, word)
			       : number_behind(program->log, "", "stack depth ");
	const char *names[FUNCTIONS];
	size_t kept = kept_functions(loaded, btf, names), count = 0;
	char *end;

	for (; at; at = lines ? number_behind(at, line, word) : *end == '+' ? end + 1 : NULL) {
		unsigned int frame = strtoul(at, &end, 10);
		struct function *function =
			count < kept ? function_named(program, names[count], !count) : NULL;

		if (!function)
			return "a frame in the verifier's log is of no function";
		function->frame = frame;
		count++;
	}
	return count != kept ? "the verifier's log has not a frame for each function" : NULL;
}

/* Adds up what is below the function; those that it calls are done. */
static void add_chain(struct program *program, struct function *function,
		      const struct bpf_insn *insns, size_t end)
{
	unsigned int chain = 0, frames = 0;

	for (size_t at = function->start; at < end; at++) {
		size_t start = called(insns, at);
		const struct function *callee = start ? function_at(program, start) : NULL;

		if (!callee)
			continue;
		chain = callee->chain > chain ? callee->chain : chain;
		frames = callee->frames > frames ? callee->frames : frames;
	}
	/* a function without a frame has one of this size, too */
	function->chain = chain + (function->frame / FRAME_UNIT +
				   (function->frame % FRAME_UNIT || !function->frame)) *
					  FRAME_UNIT;
	function->frames = frames + 1;
}

/* The kernel adds up the calls of dead code as well, so it is these instructions that count. */
static void measure_stack(struct program *program, const struct bpf_program *loaded,
			  const struct btf *btf)
{
	const struct bpf_insn *insns = bpf_program__insns(loaded);
	size_t count = bpf_program__insn_cnt(loaded);
	const struct function *functions = program->functions;

	find_functions(program, insns, count);
	program->unknown = program->function_count == program->name_count
				   ? read_frames(program, loaded, btf)
				   : "libbpf has not named each function";
	/* each round is right for one call more: nothing recurs */
	for (size_t round = 0; round < program->function_count; round++)
		for (size_t i = 0; i < program->function_count; i++)
			add_chain(program, &program->functions[i], insns,
				  i + 1 < program->function_count ? functions[i + 1].start : count);
}

static unsigned int largest_frame(const struct program *program)
{
	unsigned int largest = 0;

	for (size_t i = 0; i < program->function_count; i++)
		if (program->functions[i].frame > largest)
			largest = program->functions[i].frame;
	return largest;
}

/* --- load --- */

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

		programs[i].name_count = 1; /* its own is the first */
		if (programs[i].refused)
			continue;
		bpf_program__set_autoload(program, true);
		bpf_program__set_log_level(program, STATS_ONLY);
		bpf_program__set_log_buf(program, programs[i].log, LOG);
	}
	blamed[0] = '\0';
	error = vmlat_bpf__load(object);
	for (int i = 0; i < program_count && !error; i++)
		if (!programs[i].refused)
			measure_stack(
				&programs[i],
				bpf_object__find_program_by_name(object->obj, programs[i].name),
				bpf_object__btf(object->obj));
	vmlat_bpf__destroy(object);
	if (!error)
		return 0;
	for (int i = 0; i < program_count; i++) {
		if (programs[i].refused || strcmp(programs[i].name, blamed))
			continue;
		programs[i].refused = true;
		if (!programs[i].log[0])
			snprintf(programs[i].log, LOG, "%s", said);
		return 1;
	}
	printf("the object does not load: %s; %s", strerror(-error), said);
	return -1;
}

static void raise_to(unsigned int *figure, unsigned int value)
{
	*figure = value > *figure ? value : *figure;
}

/* Of what was loaded last. Prints why it has no figures; 0 or 1. */
static int note_figures(struct program *program)
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
	if (program->unknown) {
		printf("%s: %s\n", program->name, program->unknown);
		return 1;
	}
	raise_to(&program->instructions, instructions);
	raise_to(&program->states, states);
	raise_to(&program->frame, largest_frame(program));
	raise_to(&program->chain, program->functions[0].chain);
	raise_to(&program->frames, program->functions[0].frames);
	return 0;
}

/* All programs in an object that has these hooks: their figures, as far as they have any. 0 or 1. */
static int load_all(const struct kernel *kernel, __u64 attached)
{
	int status;

	do
		status = load(kernel, attached);
	while (status > 0);
	for (int i = 0; i < program_count && status >= 0; i++)
		status |= note_figures(&programs[i]);
	return !!status;
}

int main(void)
{
	struct kernel kernel;
	int status;

	if (kernel__open(&kernel))
		return 1;
	kernel.no_fentry = false; /* to load is all that is asked of it */
	libbpf_set_print(note_words);
	add_programs(&kernel, ATTACH_FENTRY);
	add_programs(&kernel, ATTACH_KPROBE);
	add_program("fill");
	add_program("expire");
	status = load_all(&kernel, ALL_HOOKS) || load_all(&kernel, NO_HOOKS);
	for (int i = 0; i < program_count; i++)
		if (programs[i].instructions)
			printf("%s %u %u %u %u %u\n", programs[i].name, programs[i].instructions,
			       programs[i].states, programs[i].frame, programs[i].chain,
			       programs[i].frames);
	printf("# %d programs\n", program_count);
	kernel__close(&kernel);
	return status;
}
