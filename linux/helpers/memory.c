// SPDX-License-Identifier: GPL-2.0
#include <linux/slab.h>

__rust_helper struct kmem_cache *
rust_helper_linux_kmem_cache_create(const char *name, unsigned int size,
				   unsigned int align)
{
	return kmem_cache_create(name, size, align,
				 SLAB_HWCACHE_ALIGN | SLAB_NO_MERGE, NULL);
}

__rust_helper void *rust_helper_linux_kmem_cache_alloc_atomic(struct kmem_cache *s)
{
	return kmem_cache_alloc(s, GFP_ATOMIC);
}
