/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a program attaches to: the number of a function, or tracepoint, in the kernel's BTF, or a
 * module's. By itself libbpf looks at each type of the kernel for each program, which is a third of
 * what it takes to load ours.
 */
#ifndef VMLAT_TARGET_H
#define VMLAT_TARGET_H

struct kernel;
struct targets;

/*
 * From now on, programs that are opened and then loaded have the numbers from this kernel, which
 * must live as long. They attach by bpf_program__attach_trace. NULL: errno says why.
 */
struct targets *targets__open(const struct kernel *kernel);

/* As soon as these programs are loaded. NULL: none. */
void targets__close(struct targets *targets);

#endif
