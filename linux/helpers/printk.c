// SPDX-License-Identifier: GPL-2.0
#include <linux/net.h>
#include <linux/ratelimit.h>

/* What printk_ratelimited() looks at, before it prints. */
__rust_helper int rust_helper_linux_request_ratelimit(const char *name)
{
	static DEFINE_RATELIMIT_STATE(state, DEFAULT_RATELIMIT_INTERVAL,
				      DEFAULT_RATELIMIT_BURST);

	return ___ratelimit(&state, name);
}
