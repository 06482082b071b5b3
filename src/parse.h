/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Values of options, from the user's words. Each function returns NULL, or what is wrong with
 * the text, in words to follow the option's name (a constant string, not to be freed).
 */
#ifndef VMLAT_PARSE_H
#define VMLAT_PARSE_H

#include <linux/types.h>
#include <stddef.h>

#include "config.h"
#include "hooks.h"

/* ADDR or ADDR/LEN, IPv4 or IPv6. Host bits beyond LEN are an error, not ignored. */
const char *parse_prefix(const char *text, struct vmlat_prefix *prefix);

/* PORT or LOW-HIGH, 0 to 65535. */
const char *parse_ports(const char *text, struct vmlat_ports *ports);

/* Comma separated: tcp, udp, icmp, any; a mask of enum vmlat_protocol, 0 for any. */
const char *parse_protocols(const char *text, __u32 *protocols);

/* Comma separated names of outcomes; a bit mask of enum vmlat_outcome. */
const char *parse_outcomes(const char *text, __u32 *outcomes);

/* tx, rx or both; enum vmlat_direction. */
const char *parse_direction(const char *text, int *directions);

/* A decimal integer from low to high. */
const char *parse_number(const char *text, __u64 low, __u64 high, __u64 *number);

/* A decimal fraction of `unit_ns` nanoseconds, 0 to a day: "1.5" with 1000 is 1500. */
const char *parse_time(const char *text, __u64 unit_ns, __u64 *ns);

/* The one of `names` that is nearest to `text`, NULL when none is near. */
const char *nearest_name(const char *text, const char *const *names, size_t count);

#endif
