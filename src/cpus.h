/* SPDX-License-Identifier: GPL-2.0 */
/* The numbers of the CPUs that this machine may have; there may be gaps between them. */
#ifndef VMLAT_CPUS_H
#define VMLAT_CPUS_H

enum { MAX_CPUS = 8192 }; /* CONFIG_NR_CPUS of MAXSMP */

/*
 * The order is that of the values of per-CPU maps, which have one for each possible CPU and none
 * for a gap.
 */
struct cpus {
	int count;
	int number[MAX_CPUS];
};

/* Reads the possible CPUs. 0 or -errno. */
int cpus__find(struct cpus *cpus);

/* How many entries an array has that is indexed by the number of a CPU. */
unsigned int cpus__room(const struct cpus *cpus);

/* Reads a list such as "0-3,8". 0 or -EINVAL. */
int cpus__parse(struct cpus *cpus, const char *list);

#endif
