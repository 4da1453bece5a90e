/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What every object includes first. Only UAPI headers: building needs no kernel of any version at hand. */
#ifndef SHUNT_BASE_H
#define SHUNT_BASE_H

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* The kernel offers its helpers only to programs that say so; see LICENSING.md. */
char LICENSE[] SEC("license") = "GPL";

/* tcx: go on with the next program, then the stack (Linux 6.6; older headers do not have it). */
#define SHUNT_TCX_NEXT (-1)

/*
 * Keeps a struct or enum that no map has as key or value (a record of a ring buffer) in the BTF, and so in the layouts
 * that TypeScript reads. For keys, values and globals it is not needed.
 */
#define SHUNT_EXPORT(kind, name) kind name *shunt_export_##name __attribute__((unused))

#endif
