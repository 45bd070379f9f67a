// SPDX-License-Identifier: GPL-2.0
#include <linux/net.h>
#include <linux/ratelimit.h>

/* What printk_ratelimited() looks at, before it prints: a limit for each kind of line. */
#define LINUX_DEFINE_RATELIMIT(kind)						\
__rust_helper int rust_helper_linux_##kind##_ratelimit(const char *name)	\
{										\
	static DEFINE_RATELIMIT_STATE(state, DEFAULT_RATELIMIT_INTERVAL,	\
				      DEFAULT_RATELIMIT_BURST);			\
										\
	return ___ratelimit(&state, name);					\
}

LINUX_DEFINE_RATELIMIT(request)
LINUX_DEFINE_RATELIMIT(user_ns_request)
LINUX_DEFINE_RATELIMIT(user_ns_packet)
