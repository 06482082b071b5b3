/* SPDX-License-Identifier: GPL-2.0 */
/* IP addresses as text, as inet_ntop(3) has them: there may be two for each packet. */
#ifndef VMLAT_ADDRESS_H
#define VMLAT_ADDRESS_H

#include <linux/types.h>
#include <netinet/in.h>

/* `family` as of a flow: 4 or 6. Returns the length. */
size_t address__text(int family, const __be32 *address, char text[INET6_ADDRSTRLEN]);

#endif
