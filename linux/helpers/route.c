// SPDX-License-Identifier: GPL-2.0
#include <linux/netdevice.h>
#include <net/addrconf.h>
#include <net/dst.h>
#include <net/ip.h>
#include <net/ip6_fib.h>
#include <net/ip6_route.h>
#include <net/sock.h>
#include <net/ipv6.h>

__rust_helper void rust_helper_linux_dst_link_failure(struct sk_buff *skb)
{
	dst_link_failure(skb);
}

__rust_helper bool rust_helper_linux_dst_hold_safe(struct dst_entry *dst)
{
	return dst_hold_safe(dst);
}

__rust_helper bool rust_helper_linux_skb_dst_force(struct sk_buff *skb)
{
	return skb_dst_force(skb);
}

__rust_helper u32 rust_helper_linux_dst4_mtu(const struct dst_entry *dst)
{
	return dst4_mtu(dst);
}

__rust_helper void rust_helper_linux_skb_update_pmtu(struct sk_buff *skb, u32 mtu)
{
	struct dst_entry *dst = skb_dst(skb);

	dst->ops->update_pmtu(dst, skb->sk, NULL, mtu, true);
}

__rust_helper void rust_helper_linux_ip_inc_in_hdr_errors(struct net *net)
{
	IP_INC_STATS(net, IPSTATS_MIB_INHDRERRORS);
}

__rust_helper struct net_device *
rust_helper_linux_netdev_of_notifier_info(const void *info)
{
	return netdev_notifier_info_to_dev(info);
}

__rust_helper struct net *
rust_helper_linux_dev_net(const struct net_device *dev)
{
	return dev_net(dev);
}

__rust_helper void rust_helper_linux_ip6_inc_in_hdr_errors(struct net *net,
							   const struct sk_buff *skb)
{
	IP6_INC_STATS(net, __in6_dev_get_safely(skb->dev), IPSTATS_MIB_INHDRERRORS);
}

__rust_helper void rust_helper_linux_icmpv6_send(struct sk_buff *skb, u8 type,
						u8 code, u32 info)
{
	icmpv6_send(skb, type, code, info);
}

__rust_helper u32 rust_helper_linux_dst_mtu(const struct dst_entry *dst)
{
	return dst_mtu(dst);
}

__rust_helper struct dst_entry *
rust_helper_linux_dst_check(struct dst_entry *dst, u32 cookie)
{
	return dst_check(dst, cookie);
}

__rust_helper u32 rust_helper_linux_rt6_get_cookie(const struct dst_entry *dst)
{
	return rt6_get_cookie(dst_rt6_info(dst));
}

__rust_helper struct net_device *
rust_helper_linux_ip6_dst_idev_dev(const struct dst_entry *dst)
{
	return ip6_dst_idev(dst)->dev;
}

__rust_helper bool rust_helper_linux_ipv6_mod_enabled(void)
{
	return ipv6_mod_enabled();
}

__rust_helper void rust_helper_linux_ip6_update_pmtu(struct sk_buff *skb,
						    struct net *net, u32 mtu)
{
	ip6_update_pmtu(skb, net, htonl(mtu), 0, 0, sock_net_uid(net, NULL));
}
