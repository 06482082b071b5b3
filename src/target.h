/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a program attaches to: the number of a function, or tracepoint, in the kernel's BTF, or a
 * module's. By itself libbpf looks at each type of the kernel for each program, which is a third of
 * what it takes to load ours.
 */
#ifndef VMLAT_TARGET_H
#define VMLAT_TARGET_H

struct kernel;

/*
 * Programs that are opened and loaded between the two have the numbers from this kernel. They attach
 * by bpf_program__attach_trace. 0 or -errno; targets__end in any case.
 */
int targets__begin(const struct kernel *kernel);
void targets__end(void);

#endif
