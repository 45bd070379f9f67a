// SPDX-License-Identifier: GPL-2.0
/*
 * A stand-in for a scheduler or persistence engine that is a module of its own in C, and part of
 * ip_vs.ko here. It has no code: who asks for the module by its name (modprobe, kube-proxy,
 * /etc/modules) gets ip_vs.ko, and finds the name in /proc/modules.
 */
#include <linux/module.h>

/* ip_vs.ko exports it; the C module of that name does not. */
extern const u8 ip_vs_all_in_one;
static const u8 *const needed __used = &ip_vs_all_in_one;

MODULE_DESCRIPTION("Stand-in for " KBUILD_MODNAME ", which ip_vs contains");
MODULE_LICENSE("GPL");
