// SPDX-License-Identifier: GPL-2.0

//! The C functions that `linux/` calls, as far as the modelled part of it does.

use crate::rcu_model;

#[allow(non_camel_case_types)]
pub(crate) struct callback_head;

pub(crate) unsafe fn call_rcu(
    head: *mut callback_head,
    function: Option<unsafe extern "C" fn(*mut callback_head)>,
) {
    rcu_model::call(head, function.unwrap());
}

pub(crate) unsafe fn synchronize_rcu() {
    rcu_model::synchronize();
}

pub(crate) unsafe fn rcu_barrier() {
    rcu_model::barrier();
}

pub(crate) unsafe fn ipvs_cond_resched() {}
