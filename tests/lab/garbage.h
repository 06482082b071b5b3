/* SPDX-License-Identifier: GPL-2.0 */
/* Frames that no decent stack sends: cut off, lying about their lengths, random, some of them good after all. */
#ifndef LAB_GARBAGE_H
#define LAB_GARBAGE_H

#include <stddef.h>
#include <stdint.h>

#include "frame.h"

/* Writes frame `number` of the kind that `seed` says to out, which has room for FRAME_MAX bytes; returns its length, 14
 * at least. The MAC addresses are the flow's and so is what is not random of the rest. The same arguments give the same
 * frame.
 */
size_t garbage_build(uint64_t seed, uint32_t number, const struct flow *flow, uint8_t *out);

#endif
