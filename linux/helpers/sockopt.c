// SPDX-License-Identifier: GPL-2.0
#include <linux/sockptr.h>
#include <net/sock.h>

__rust_helper struct net *rust_helper_linux_sock_net(const struct sock *sk)
{
	return sock_net(sk);
}

__rust_helper int rust_helper_linux_copy_from_sockptr(void *dst, sockptr_t src,
						     size_t size)
{
	return copy_from_sockptr(dst, src, size);
}
