// SPDX-License-Identifier: GPL-2.0
#include "unit.h"

#include <ftw.h>
#include <sys/stat.h>

#include "vms.h"

/* The arguments are given as one string literal, its last NUL the compiler's. */
#define assert_name(expected, arguments) name_is(expected, arguments, sizeof(arguments))
#define assert_no_name(arguments)	 assert_name(NULL, arguments)

static void name_is(const char *expected, const char *arguments, size_t length)
{
	/* of exactly this size: what is read beyond is seen */
	char *copy = malloc(length), name[64] = "";
	bool found;

	assert_non_null(copy);
	memcpy(copy, arguments, length);
	found = vms__name_from_arguments(copy, length, name, sizeof(name));
	free(copy);
	assert_int_equal(found, expected != NULL);
	if (expected)
		assert_string_equal(name, expected);
}

static void a_name_is_given_by_itself(void **state)
{
	(void)state;
	assert_name("web1", "qemu-system-x86_64\0-name\0web1\0-m\0"
			    "512");
	assert_name("web1", "qemu\0--name\0web1");
	assert_name("web1", "qemu\0-name\0web1,process=qemu-web1");
	assert_name("vm 1", "qemu\0-name\0vm 1");
}

static void a_name_is_given_by_guest(void **state)
{
	(void)state;
	assert_name("web1", "qemu\0-name\0guest=web1,debug-threads=on\0-S");
	assert_name("web1", "qemu\0-name\0debug-threads=on,guest=web1");
	assert_name("a=b", "qemu\0-name\0guest=a=b");
}

static void two_commas_are_one_of_the_name(void **state)
{
	(void)state;
	assert_name("a,b", "qemu\0-name\0guest=a,,b,debug-threads=on");
	assert_name("a,", "qemu\0-name\0a,,,process=x");
	assert_name("b", "qemu\0-name\0process=x,,guest=a,guest=b");
}

static void the_last_name_holds(void **state)
{
	(void)state;
	assert_name("b", "qemu\0-name\0guest=a,guest=b");
	assert_name("b", "qemu\0-name\0a\0-name\0b");
	assert_name("a", "qemu\0-name\0a\0-name\0debug-threads=on");
	assert_name("-name", "qemu\0-name\0-name\0web1");
}

static void a_command_line_may_have_no_name(void **state)
{
	(void)state;
	assert_no_name("qemu\0-m\0"
		       "512");
	assert_no_name("qemu\0-name");
	assert_no_name("qemu\0-name\0debug-threads=on");
	assert_no_name("qemu\0-name\0");
	assert_no_name("qemu\0-name\0guest=");
	assert_no_name("qemu\0-names\0web1");
	assert_no_name("qemu\0-name\0debug-threads=on,web1");
	assert_no_name("");
}

static void what_looks_like_a_name_elsewhere_is_none(void **state)
{
	(void)state;
	assert_no_name("qemu\0-append\0name=x");
	assert_no_name("qemu\0guest=web1");
	assert_name("b", "qemu\0-device\0x,name=a\0-name\0b");
}

static void a_command_line_that_is_cut_ends_there(void **state)
{
	static const char line[] = "qemu\0-name\0web1";
	char name[64];

	(void)state;
	for (size_t length = 0; length < sizeof(line); length++) {
		char *copy = malloc(length ? length : 1);

		assert_non_null(copy);
		memcpy(copy, line, length);
		assert_false(vms__name_from_arguments(copy, length, name, sizeof(name)));
		free(copy);
	}
}

static void a_long_name_is_cut_to_its_room(void **state)
{
	static const char line[] = "qemu\0-name\0abcdefghij";
	char name[5];

	(void)state;
	assert_true(vms__name_from_arguments(line, sizeof(line), name, sizeof(name)));
	assert_string_equal(name, "abcd");
}

/* --- processes, in a directory that stands in for /proc --- */

enum { NOBODY = 4999000 }; /* beyond any number of a process */

struct proc {
	char path[32];
	char found[256]; /* "vnet0=web1 …" */
};

static const char *path_in(const struct proc *proc, const char *format, int pid, int fd)
{
	static char path[256];
	char entry[128];

	snprintf(entry, sizeof(entry), format, NOBODY + pid, fd);
	snprintf(path, sizeof(path), "%s/%s", proc->path, entry);
	return path;
}

static void write_file(const char *path, const char *text, size_t length)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, length, file), length);
	fclose(file);
}

/* Whoever has the same namespace has the same file. */
static void set_namespace(const struct proc *proc, int pid, bool ours)
{
	char own[64];

	assert_int_equal(mkdir(path_in(proc, "%d/ns", pid, 0), 0700), 0);
	snprintf(own, sizeof(own), "%s/self/ns/net", proc->path);
	if (ours)
		assert_int_equal(link(own, path_in(proc, "%d/ns/net", pid, 0)), 0);
	else
		write_file(path_in(proc, "%d/ns/net", pid, 0), "", 0);
}

static int set_up_proc(void **state)
{
	struct proc *proc = calloc(1, sizeof(*proc));

	assert_non_null(proc);
	snprintf(proc->path, sizeof(proc->path), "/tmp/vmlat-proc-XXXXXX");
	assert_non_null(mkdtemp(proc->path));
	assert_int_equal(mkdir(path_in(proc, "self", 0, 0), 0700), 0);
	assert_int_equal(mkdir(path_in(proc, "self/ns", 0, 0), 0700), 0);
	write_file(path_in(proc, "self/ns/net", 0, 0), "", 0);
	*state = proc;
	return 0;
}

static int remove_one(const char *path, const struct stat *status, int flag, struct FTW *where)
{
	(void)status;
	(void)flag;
	(void)where;
	return remove(path);
}

static int tear_down_proc(void **state)
{
	struct proc *proc = *state;

	assert_int_equal(nftw(proc->path, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
	free(proc);
	return 0;
}

#define add_process(proc, pid, arguments, ours) \
	add_process_of(proc, pid, arguments, sizeof(arguments), ours)

static void add_process_of(const struct proc *proc, int pid, const char *arguments, size_t length,
			   bool ours)
{
	assert_int_equal(mkdir(path_in(proc, "%d", pid, 0), 0700), 0);
	assert_int_equal(mkdir(path_in(proc, "%d/fd", pid, 0), 0700), 0);
	assert_int_equal(mkdir(path_in(proc, "%d/fdinfo", pid, 0), 0700), 0);
	write_file(path_in(proc, "%d/cmdline", pid, 0), arguments, length);
	set_namespace(proc, pid, ours);
}

static void add_descriptor(const struct proc *proc, int pid, int fd, const char *target,
			   const char *info)
{
	assert_int_equal(symlink(target, path_in(proc, "%d/fd/%d", pid, fd)), 0);
	write_file(path_in(proc, "%d/fdinfo/%d", pid, fd), info, strlen(info));
}

static void add_tap(const struct proc *proc, int pid, int fd, const char *tap)
{
	char info[128];

	snprintf(info, sizeof(info), "pos:\t0\nflags:\t0104002\nmnt_id:\t24\niff:\t%s\n", tap);
	add_descriptor(proc, pid, fd, "/dev/net/tun", info);
}

static void note(void *context, const char *tap, const char *vm)
{
	struct proc *proc = context;
	size_t length = strlen(proc->found);

	snprintf(proc->found + length, sizeof(proc->found) - length, "%s%s=%s", length ? " " : "",
		 tap, vm);
}

static void assert_found(struct proc *proc, const char *expected)
{
	proc->found[0] = '\0';
	assert_false(vms__each(proc->path, note, proc));
	assert_string_equal(proc->found, expected);
}

static void a_tap_is_of_the_vm_that_has_it_open(void **state)
{
	struct proc *proc = *state;

	add_process(proc, 1, "/usr/bin/qemu-system-x86_64\0-name\0guest=web1", true);
	add_descriptor(proc, 1, 3, "socket:[4711]", "pos:\t0\n");
	add_tap(proc, 1, 28, "vnet0");
	add_descriptor(proc, 1, 29, "/dev/vhost-net", "pos:\t0\n");
	assert_found(proc, "vnet0=web1");
}

static void each_queue_of_a_tap_is_of_its_vm(void **state)
{
	struct proc *proc = *state;

	add_process(proc, 1, "qemu\0-name\0web1", true);
	add_tap(proc, 1, 28, "vnet0");
	add_tap(proc, 1, 29, "vnet0");
	assert_found(proc, "vnet0=web1 vnet0=web1");
}

static void a_program_that_names_no_vm_is_none(void **state)
{
	struct proc *proc = *state;

	add_process(proc, 1, "python3\0tests.py", true);
	add_tap(proc, 1, 3, "tap9");
	add_process(proc, 2, "qemu-system-x86_64\0-m\0512", true);
	add_tap(proc, 2, 3, "tap8");
	assert_found(proc, "");
}

static void a_tun_without_an_interface_is_no_tap(void **state)
{
	struct proc *proc = *state;

	add_process(proc, 1, "qemu\0-name\0web1", true);
	add_descriptor(proc, 1, 3, "/dev/net/tun", "pos:\t0\nflags:\t02\n");
	assert_found(proc, "");
}

static void a_tap_of_another_namespace_is_none_of_ours(void **state)
{
	struct proc *proc = *state;

	add_process(proc, 1, "qemu\0-name\0web1", false);
	add_tap(proc, 1, 3, "vnet0");
	add_process(proc, 2, "qemu\0-name\0web2", true);
	add_tap(proc, 2, 3, "vnet0");
	assert_found(proc, "vnet0=web2");
}

static void a_process_that_ends_meanwhile_is_left_out(void **state)
{
	struct proc *proc = *state;

	add_process(proc, 1, "qemu\0-name\0web1", true);
	add_tap(proc, 1, 3, "vnet0");
	assert_int_equal(remove(path_in(proc, "%d/fdinfo/%d", 1, 3)), 0);
	assert_int_equal(mkdir(path_in(proc, "%d", 2, 0), 0700), 0);
	assert_found(proc, "");
}

#define proc_test(test) cmocka_unit_test_setup_teardown(test, set_up_proc, tear_down_proc)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_is_given_by_itself),
		cmocka_unit_test(a_name_is_given_by_guest),
		cmocka_unit_test(two_commas_are_one_of_the_name),
		cmocka_unit_test(the_last_name_holds),
		cmocka_unit_test(a_command_line_may_have_no_name),
		cmocka_unit_test(what_looks_like_a_name_elsewhere_is_none),
		cmocka_unit_test(a_command_line_that_is_cut_ends_there),
		cmocka_unit_test(a_long_name_is_cut_to_its_room),
		proc_test(a_tap_is_of_the_vm_that_has_it_open),
		proc_test(each_queue_of_a_tap_is_of_its_vm),
		proc_test(a_program_that_names_no_vm_is_none),
		proc_test(a_tun_without_an_interface_is_no_tap),
		proc_test(a_tap_of_another_namespace_is_none_of_ours),
		proc_test(a_process_that_ends_meanwhile_is_left_out),
	};

	return cmocka_run_group_tests_name("vms", tests, NULL, NULL);
}
