// SPDX-License-Identifier: GPL-2.0
#include <net/genetlink.h>

__rust_helper struct net *rust_helper_linux_genl_info_net(const struct genl_info *info)
{
	return genl_info_net(info);
}

__rust_helper int rust_helper_linux_genlmsg_reply(struct sk_buff *skb,
						 struct genl_info *info)
{
	return genlmsg_reply(skb, info);
}
