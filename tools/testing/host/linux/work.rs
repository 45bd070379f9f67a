// SPDX-License-Identifier: GPL-2.0

//! Works: run by the clock, one after the other.

use crate::{
    clock,
    jiffies, //
};
use kernel::{
    prelude::*,
    sync::LockClassKey, //
};
use std::sync::{
    atomic::{
        AtomicBool,
        Ordering::SeqCst, //
    },
    Arc,
    Weak, //
};

pub enum Next {
    Done,
    After(usize),
    /// Like `After`, but nobody can hurry it.
    Retry(usize),
}

pub trait Run: Send + Sync + 'static {
    fn run(&self) -> Next;
}

pub struct Work<T: Run> {
    inner: Arc<Inner<T>>,
    _memory: KBox<()>,
}

struct Inner<T> {
    number: usize,
    hurried: AtomicBool,
    run: T,
}

impl<T: Run> Work<T> {
    pub fn new(run: T, _name: &'static CStr, _class: Pin<&'static LockClassKey>) -> Result<Self> {
        Ok(Self {
            _memory: KBox::new((), GFP_KERNEL)?,
            inner: Arc::new(Inner {
                number: clock::new_number(),
                hurried: AtomicBool::new(false),
                run,
            }),
        })
    }

    pub fn schedule(&self, delay: usize) {
        schedule(&self.inner, delay);
    }

    pub fn hurry(&self) {
        if !self.inner.hurried.swap(true, SeqCst) {
            clock::cancel(self.inner.number);
            self.schedule(0);
        }
    }

    pub fn cancel(&self) {
        clock::cancel(self.inner.number);
        self.inner.hurried.store(false, SeqCst);
    }
}

fn schedule<T: Run>(inner: &Arc<Inner<T>>, delay: usize) {
    let weak: Weak<Inner<T>> = Arc::downgrade(inner);
    let call = move || {
        let Some(inner) = weak.upgrade() else { return };
        inner.hurried.store(false, SeqCst);
        match inner.run.run() {
            Next::Done => {}
            Next::After(delay) => schedule(&inner, delay),
            Next::Retry(delay) => {
                inner.hurried.store(true, SeqCst);
                schedule(&inner, delay);
            }
        }
    };
    let at = jiffies::now().wrapping_add(delay);
    clock::call_at(inner.number, at, Arc::new(call));
}

impl<T: Run> Drop for Work<T> {
    fn drop(&mut self) {
        self.cancel();
    }
}
