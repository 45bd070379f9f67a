// SPDX-License-Identifier: GPL-2.0

//! The cached route to a host (`linux/route/cache.rs`).

use super::explore;
use crate::{
    net::Net,
    netdevice::Device,
    rcu,
    route::{
        RouteCache,
        TestRoute, //
    },
};
use core::sync::atomic::{
    smp_mb, //
    Atomic,
    Full,
    Relaxed,
};
use loom::thread;
use std::sync::Arc;

type Cache = Arc<RouteCache<TestRoute>>;

fn device() -> Arc<Device> {
    Arc::new(Device { up: Atomic::new(1) })
}

/// Creates the namespace, in which routes are valid.
fn net() -> Arc<Net> {
    Arc::new(Net {
        generation: Atomic::new(0),
    })
}

/// Looks a route up and caches it, as a packet does that finds no cached one.
fn store(cache: &Cache, number: u32, device: &Arc<Device>, allowed: impl FnOnce() -> bool) {
    store_in(&net(), cache, number, device, allowed);
}

/// As [`store`], in a namespace that is shared with others.
fn store_in(
    net: &Net,
    cache: &Cache,
    number: u32,
    device: &Arc<Device>,
    allowed: impl FnOnce() -> bool,
) {
    rcu::read(|rcu| {
        let found = TestRoute::new(number, device);
        let cached = cache.store(found, net, allowed, rcu).ok().unwrap();
        // It may be used, whether or not it was cached.
        assert_eq!(cached.rt.number(), number);
        assert_eq!(cached.source, number);
    });
}

/// Returns the number of the route that packets find.
fn find(cache: &Cache) -> Option<u32> {
    rcu::read(|rcu| {
        let cached = cache.get(&net(), rcu)?;
        assert_eq!(cached.rt.number(), cached.source);
        Some(cached.source)
    })
}

#[test]
fn a_route_may_be_used_while_another_takes_its_place() {
    explore(3, || {
        let (cache, device) = (Cache::default(), device());
        store(&cache, 1, &device, || true);
        let other = Arc::clone(&cache);
        let reader = thread::spawn(move || assert!(matches!(find(&other), Some(1 | 2))));
        store(&cache, 2, &device, || true);
        reader.join().unwrap();
        assert_eq!(find(&cache), Some(2));
    });
}

#[test]
fn of_two_routes_that_are_stored_one_stays() {
    explore(3, || {
        let (cache, device) = (Cache::default(), device());
        let (other, its) = (Arc::clone(&cache), Arc::clone(&device));
        let storer = thread::spawn(move || store(&other, 1, &its, || true));
        store(&cache, 2, &device, || true);
        storer.join().unwrap();
        assert!(find(&cache).is_some());
    });
}

#[test]
fn no_route_stays_by_a_device_that_went_down() {
    explore(4, || {
        let (cache, device) = (Cache::default(), device());
        let (other, its) = (Arc::clone(&cache), Arc::clone(&device));
        let storer = thread::spawn(move || store(&other, 1, &its, || true));
        device.up.store(0, Relaxed);
        cache.reset();
        storer.join().unwrap();
        assert_eq!(find(&cache), None);
    });
}

/// As the kernel takes a device down (`__dev_close_many()`): a barrier, then the notifiers.
#[test]
fn no_route_stays_by_a_device_whose_routes_are_looked_for() {
    explore(4, || {
        let (cache, device) = (Cache::default(), device());
        let (other, its) = (Arc::clone(&cache), Arc::clone(&device));
        let storer = thread::spawn(move || store(&other, 1, &its, || true));
        device.up.store(0, Relaxed);
        smp_mb(Full);
        rcu::read(|rcu| cache.reset_if_uses(&device, &net(), rcu));
        storer.join().unwrap();
        assert_eq!(find(&cache), None);
    });
}

#[test]
fn no_route_stays_that_is_taken_away_while_it_is_stored() {
    explore(4, || {
        let (cache, device, other_device) = (Cache::default(), device(), device());
        let (net, other) = (net(), Arc::clone(&cache));
        let its_net = Arc::clone(&net);
        let storer = thread::spawn(move || store_in(&its_net, &other, 1, &device, || true));
        net.generation.store(1, Relaxed);
        rcu::read(|rcu| cache.reset_if_uses(&other_device, &net, rcu));
        storer.join().unwrap();
        assert_eq!(find(&cache), None);
    });
}

#[test]
fn no_route_stays_for_a_server_that_must_not_have_one() {
    explore(4, || {
        let (cache, device) = (Cache::default(), device());
        let available = Arc::new(Atomic::new(1));
        let (other, its) = (Arc::clone(&cache), Arc::clone(&available));
        let storer = thread::spawn(move || store(&other, 1, &device, || its.load(Relaxed) != 0));
        available.store(0, Relaxed);
        cache.reset();
        storer.join().unwrap();
        assert_eq!(find(&cache), None);
    });
}

#[test]
fn resetting_by_device_takes_that_device_s_route_only() {
    explore(3, || {
        let (cache, gone, stays) = (Cache::default(), device(), device());
        store(&cache, 1, &gone, || true);
        let (other, its) = (Arc::clone(&cache), Arc::clone(&stays));
        let storer = thread::spawn(move || store(&other, 2, &its, || true));
        rcu::read(|rcu| cache.reset_if_uses(&gone, &net(), rcu));
        storer.join().unwrap();
        assert_eq!(find(&cache), Some(2));
        rcu::read(|rcu| cache.reset_if_uses(&gone, &net(), rcu));
        assert_eq!(find(&cache), Some(2));
    });
}
