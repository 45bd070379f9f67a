// SPDX-License-Identifier: GPL-2.0
#include <net/dst.h>
#include <net/xfrm.h>

__rust_helper int
rust_helper_linux_xfrm_decode_session(struct net *net, struct sk_buff *skb,
				     struct flowi *fl, unsigned int family)
{
#ifdef CONFIG_XFRM
	return xfrm_decode_session(net, skb, fl, family);
#else
	return -ENOSYS;
#endif
}

__rust_helper struct dst_entry *
rust_helper_linux_xfrm_lookup(struct net *net, struct dst_entry *dst,
			     const struct flowi *fl, const struct sock *sk)
{
	return xfrm_lookup(net, dst, fl, sk, XFRM_LOOKUP_QUEUE);
}

__rust_helper bool rust_helper_linux_xfrm4_route_forward(struct sk_buff *skb)
{
	return xfrm4_route_forward(skb);
}

__rust_helper bool rust_helper_linux_xfrm6_route_forward(struct sk_buff *skb)
{
	return xfrm6_route_forward(skb);
}

__rust_helper bool rust_helper_linux_dst_is_bundle(const struct dst_entry *dst)
{
	return dst_xfrm(dst);
}
