// SPDX-License-Identifier: GPL-2.0
/* attach OBJECT: load and attach all programs of a BPF object, say "ready", and stay until SIGINT or SIGTERM. */
#include <bpf/libbpf.h>
#include <err.h>
#include <signal.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	struct bpf_program *program;
	struct bpf_object *object;
	sigset_t signals;
	int number;

	if (argc != 2)
		errx(2, "usage: attach OBJECT");
	object = bpf_object__open(argv[1]);
	if (!object || bpf_object__load(object))
		errx(1, "%s cannot be loaded", argv[1]);
	bpf_object__for_each_program(program, object) if (!bpf_program__attach(program))
		err(1, "%s", bpf_program__section_name(program));
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	puts("ready");
	fflush(stdout);
	sigwait(&signals, &number);
	return 0;
}
