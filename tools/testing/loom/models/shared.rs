// SPDX-License-Identifier: GPL-2.0

//! Counted references, and cells that readers load references from (`linux/rcu.rs`).

use super::{
    explore,
    new_object, //
};
use crate::{
    prelude::*,
    rcu::{
        self,
        Shared,
        SharedCell, //
    },
};
use loom::thread;
use std::sync::Arc;

#[test]
fn a_reader_gets_a_reference_or_the_last_one_is_gone() {
    explore(3, || {
        let (object, dropped) = new_object(1, None);
        let cell = Arc::new(SharedCell::new(object));
        let other = Arc::clone(&cell);
        let reader = thread::spawn(move || {
            let found = rcu::read(|rcu| {
                let found = other.get(rcu)?;
                assert!((1..3).contains(&found.number()));
                let shared = found.share();
                // Readers may use it in either case.
                found.number();
                shared
            });
            if let Some(object) = found {
                object.number();
            }
        });
        let (second, _) = new_object(2, None);
        let old = cell.replace(second).unwrap();
        assert_eq!((old.number(), dropped.times()), (1, 0));
        drop(old);
        reader.join().unwrap();
        rcu::drain();
        assert_eq!(dropped.times(), 1);
    });
}

#[test]
fn two_who_replace_get_one_old_object_each() {
    explore(3, || {
        let (object, _) = new_object(1, None);
        let cell = Arc::new(SharedCell::new(object));
        let other = Arc::clone(&cell);
        let writer = thread::spawn(move || other.replace(new_object(2, None).0).unwrap().number());
        let one = cell.replace(new_object(3, None).0).unwrap().number();
        let mut all = vec![one, writer.join().unwrap()];
        all.push(rcu::read(|rcu| cell.get(rcu).unwrap().number()));
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3]);
    });
}

#[test]
fn clones_are_dropped_with_the_last() {
    explore(3, || {
        let (object, dropped) = new_object(1, None);
        let clone = object.clone();
        let holder = thread::spawn(move || {
            clone.number();
            clone.clone().number();
        });
        object.number();
        drop(object);
        holder.join().unwrap();
        rcu::drain();
        assert_eq!(dropped.times(), 1);
    });
}

/// An object with a reference to another one, which it drops when it is dropped.
struct Chain(
    #[allow(dead_code)] Option<Shared<Chain>>,
    Arc<std::sync::atomic::AtomicUsize>,
);

impl crate::rcu::Object for Chain {
    type Links = ();
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.1.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

#[test]
fn draining_waits_for_what_freed_objects_release() {
    explore(2, || {
        let dropped = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let link = |next| {
            let dropped = Arc::clone(&dropped);
            // SAFETY: The closure initializes all of `slot`.
            let init = unsafe {
                pin_init::pin_init_from_closure::<_, Error>(move |slot: *mut Chain| {
                    slot.write(Chain(next, dropped));
                    Ok(())
                })
            };
            Shared::pin_init(init, GFP_KERNEL).unwrap()
        };
        let chain = link(Some(link(Some(link(None)))));
        // One reader delays the first grace period, the other one the next.
        let readers = [(); 2].map(|()| thread::spawn(|| rcu::read(|_| ())));
        drop(chain);
        rcu::drain();
        assert_eq!(dropped.load(std::sync::atomic::Ordering::SeqCst), 3);
        for reader in readers {
            reader.join().unwrap();
        }
    });
}
