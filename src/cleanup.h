/* SPDX-License-Identifier: GPL-2.0 */
/* What a function owns is released where it leaves the scope. */
#ifndef VMLAT_CLEANUP_H
#define VMLAT_CLEANUP_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

static inline void cleanup_free_(void *pointer)
{
	free(*(void **)pointer);
}

static inline void cleanup_fclose_(FILE **file)
{
	if (*file)
		fclose(*file);
}

static inline void cleanup_closedir_(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

#define cleanup_free	 __attribute__((cleanup(cleanup_free_)))
#define cleanup_fclose	 __attribute__((cleanup(cleanup_fclose_)))
#define cleanup_closedir __attribute__((cleanup(cleanup_closedir_)))

#endif
