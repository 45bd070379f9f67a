// SPDX-License-Identifier: GPL-2.0
/*
 * Shims for C macros and static inline functions that Rust code can't call,
 * one file for each wrapper of the `linux` crate, sorted. None has logic.
 */
#include <linux/compiler_types.h>

#if defined(LINUX_HELPERS_BC)
#define __rust_helper __always_inline
#else
#define __rust_helper
#endif

#include "bh.c"
#include "cpumask.c"
#include "genetlink.c"
#include "kthread.c"
#include "memory.c"
#include "netfilter.c"
#include "nf_conntrack.c"
#include "percpu.c"
#include "printk.c"
#include "proc.c"
#include "route.c"
#include "sched.c"
#include "skb.c"
#include "sockopt.c"
#include "spinlock.c"
#include "timer.c"
#include "xfrm.c"
