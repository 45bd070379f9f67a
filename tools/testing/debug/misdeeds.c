// SPDX-License-Identifier: GPL-2.0
/*
 * misdeeds.ko: what each tool of the debug kernel is there to find, done once on purpose, so that
 * a lane without reports is known to come from a module without bugs, and not from tools that are
 * off. Loading it with misdeed=NAME does that one; it stays harmless beyond the report.
 */
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timer.h>

static char *misdeed = "";
module_param(misdeed, charp, 0444);

static void use_after_free(void)
{
	char *freed = kmalloc(64, GFP_KERNEL);

	kfree(freed);
	OPTIMIZER_HIDE_VAR(freed);
	READ_ONCE(freed[8]);
}

static void leak(void)
{
	/* Some stay on stacks or in registers, where kmemleak sees them. */
	for (int i = 0; i < 32; i++) {
		void *lost = kmalloc(64, GFP_KERNEL);

		barrier_data(lost);
	}
}

static DEFINE_MUTEX(one);
static DEFINE_MUTEX(other);

static void lock_order(void)
{
	mutex_lock(&one);
	mutex_lock(&other);
	mutex_unlock(&other);
	mutex_unlock(&one);

	mutex_lock(&other);
	mutex_lock(&one);
	mutex_unlock(&one);
	mutex_unlock(&other);
}

static int value;
static int __rcu *protected = (int __rcu *)&value;

static void rcu_pointer(void)
{
	READ_ONCE(*rcu_dereference(protected));
}

static DEFINE_SPINLOCK(spinlock);

static void sleep_in_atomic(void)
{
	spin_lock(&spinlock);
	might_sleep();
	spin_unlock(&spinlock);
}

struct ticking {
	struct timer_list timer;
};

static void never(struct timer_list *timer)
{
}

static void free_timer(void)
{
	struct ticking *ticking = kzalloc(sizeof(*ticking), GFP_KERNEL);

	if (!ticking)
		return;
	timer_setup(&ticking->timer, never, 0);
	mod_timer(&ticking->timer, jiffies + 600 * HZ);
	kfree(ticking);
}

static struct rcu_head head;

static void reclaim(struct rcu_head *unused)
{
}

static void call_rcu_twice(void)
{
	rcu_read_lock();
	call_rcu(&head, reclaim);
	call_rcu(&head, reclaim);
	rcu_read_unlock();
}

static void refcount(void)
{
	refcount_t count = REFCOUNT_INIT(0);

	refcount_inc(&count);
}

static void list_twice(void)
{
	LIST_HEAD(list);
	struct list_head entry;

	list_add(&entry, &list);
	list_del(&entry);
	list_del(&entry);
}

static const struct {
	const char *name;
	void (*act)(void);
} misdeeds[] = {
	{ "use_after_free", use_after_free },
	{ "leak", leak },
	{ "lock_order", lock_order },
	{ "rcu_pointer", rcu_pointer },
	{ "sleep_in_atomic", sleep_in_atomic },
	{ "free_timer", free_timer },
	{ "call_rcu_twice", call_rcu_twice },
	{ "refcount", refcount },
	{ "list_twice", list_twice },
};

static int __init misdeeds_init(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(misdeeds); i++) {
		if (!strcmp(misdeed, misdeeds[i].name)) {
			misdeeds[i].act();
			return 0;
		}
	}
	return -EINVAL;
}

static void __exit misdeeds_exit(void)
{
	rcu_barrier();
}

module_init(misdeeds_init);
module_exit(misdeeds_exit);
MODULE_DESCRIPTION("Kernel bugs on purpose, one for each tool that finds such");
MODULE_LICENSE("GPL");
