// SPDX-License-Identifier: GPL-2.0
#include <linux/netdevice.h>
#include <net/dst.h>
#include <net/ip.h>

__rust_helper void rust_helper_ipvs_dst_link_failure(struct sk_buff *skb)
{
	dst_link_failure(skb);
}

__rust_helper u32 rust_helper_ipvs_dst4_mtu(const struct dst_entry *dst)
{
	return dst4_mtu(dst);
}

__rust_helper void rust_helper_ipvs_skb_update_pmtu(struct sk_buff *skb, u32 mtu)
{
	struct dst_entry *dst = skb_dst(skb);

	dst->ops->update_pmtu(dst, skb->sk, NULL, mtu, true);
}

__rust_helper void rust_helper_ipvs_ip_inc_in_hdr_errors(struct net *net)
{
	IP_INC_STATS(net, IPSTATS_MIB_INHDRERRORS);
}

__rust_helper struct net_device *
rust_helper_ipvs_netdev_of_notifier_info(const void *info)
{
	return netdev_notifier_info_to_dev(info);
}

__rust_helper struct net *
rust_helper_ipvs_dev_net(const struct net_device *dev)
{
	return dev_net(dev);
}
