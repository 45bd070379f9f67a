// SPDX-License-Identifier: GPL-2.0
#include <linux/skbuff.h>
#include <net/inet_sock.h>
#include <net/udp.h>

__rust_helper void rust_helper_linux_skb_orphan(struct sk_buff *skb)
{
	skb_orphan(skb);
}

__rust_helper int rust_helper_linux_skb_cow(struct sk_buff *skb,
					   unsigned int headroom)
{
	return skb_cow(skb, headroom);
}

__rust_helper int rust_helper_linux_skb_linearize(struct sk_buff *skb)
{
	return skb_linearize(skb);
}

__rust_helper bool rust_helper_linux_skb_csum_unnecessary(const struct sk_buff *skb)
{
	return skb_csum_unnecessary(skb);
}

__rust_helper bool rust_helper_linux_skb_nodefrag(const struct sk_buff *skb)
{
	struct sock *sk = skb_to_full_sk(skb);

	return sk && sk->sk_family == PF_INET && inet_test_bit(NODEFRAG, sk);
}

__rust_helper bool rust_helper_linux_sk_fullsock(const struct sock *sk)
{
	return sk_fullsock(sk);
}

__rust_helper __be16 rust_helper_linux_udp_flow_src_port(struct net *net,
							struct sk_buff *skb)
{
	return udp_flow_src_port(net, skb, 0, 0, false);
}

__rust_helper u16 rust_helper_linux_lco_csum_fold(struct sk_buff *skb)
{
	return (__force u16)csum_fold(lco_csum(skb));
}

__rust_helper bool rust_helper_linux_skb_csum_is_sctp(struct sk_buff *skb)
{
	return skb_csum_is_sctp(skb);
}
