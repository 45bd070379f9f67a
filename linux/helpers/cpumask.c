// SPDX-License-Identifier: GPL-2.0
#include <linux/cpumask.h>
#include <linux/sched.h>
#include <linux/sched/isolation.h>

__rust_helper int rust_helper_linux_cpulist_parse(const char *list, struct cpumask *mask)
{
	return cpulist_parse(list, mask);
}

__rust_helper int rust_helper_linux_cpulist_print(char *buffer, size_t size,
						 const struct cpumask *mask)
{
	return scnprintf(buffer, size, "%*pbl", cpumask_pr_args(mask));
}

__rust_helper void rust_helper_linux_cpumask_and_current(struct cpumask *mask)
{
	cpumask_and(mask, mask, &current->cpus_mask);
}

__rust_helper const struct cpumask *rust_helper_linux_housekeeping_kthread_mask(void)
{
	return housekeeping_cpumask(HK_TYPE_KTHREAD);
}
