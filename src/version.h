/* SPDX-License-Identifier: GPL-2.0 */
#ifndef VMLAT_VERSION_H
#define VMLAT_VERSION_H

#define VMLAT_VERSION "0.1.0"

#endif
