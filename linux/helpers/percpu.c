// SPDX-License-Identifier: GPL-2.0
#include <linux/percpu.h>

__rust_helper void *rust_helper_linux_alloc_percpu(size_t size, size_t align)
{
	return (void *)(unsigned long)__alloc_percpu(size, align);
}

__rust_helper void *rust_helper_linux_per_cpu_ptr(void *ptr, unsigned int cpu)
{
	return per_cpu_ptr((void __percpu *)(unsigned long)ptr, cpu);
}

__rust_helper unsigned long rust_helper_linux_my_cpu_offset(void)
{
	return __my_cpu_offset;
}

__rust_helper unsigned int rust_helper_linux_next_possible_cpu(int cpu)
{
	return cpumask_next(cpu, cpu_possible_mask);
}
