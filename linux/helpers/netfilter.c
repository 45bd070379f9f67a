// SPDX-License-Identifier: GPL-2.0
#include <linux/bottom_half.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <net/dst.h>
#include <net/ip.h>
#include <net/netfilter/nf_conntrack.h>

__rust_helper void rust_helper_linux_nf_local_out(struct net *net,
						 struct sk_buff *skb)
{
	NF_HOOK(NFPROTO_IPV4, NF_INET_LOCAL_OUT, net, NULL, skb, NULL,
		skb_dst_dev(skb), dst_output);
}

__rust_helper void rust_helper_linux_nf_local_out6(struct net *net,
						  struct sk_buff *skb)
{
	NF_HOOK(NFPROTO_IPV6, NF_INET_LOCAL_OUT, net, NULL, skb, NULL,
		skb_dst_dev(skb), dst_output);
}

__rust_helper void rust_helper_linux_nf_reset_ct(struct sk_buff *skb)
{
	nf_reset_ct(skb);
}

__rust_helper int rust_helper_linux_ip_defrag(struct net *net,
					     struct sk_buff *skb, u32 user)
{
	int err;

	local_bh_disable();
	err = ip_defrag(net, skb, user);
	local_bh_enable();
	return err;
}
