// SPDX-License-Identifier: GPL-2.0

//! Sysctls, which a test reads and sets with [`Net::sysctl`] and [`Net::set_sysctl`].

use crate::{
    bindings::LINUX_HZ,
    net::{
        lock,
        Net,
        OwnNet, //
    },
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use std::sync::atomic::{
    AtomicI32,
    AtomicUsize,
    Ordering::Relaxed, //
};

#[repr(transparent)]
pub struct Int(AtomicI32);

impl Int {
    pub const fn new(number: i32) -> Self {
        Self(AtomicI32::new(number))
    }

    pub fn get(&self) -> i32 {
        self.0.load(Relaxed)
    }

    pub fn is_set(&self) -> bool {
        self.get() != 0
    }

    pub fn set(&self, number: i32) {
        self.0.store(number, Relaxed);
    }
}

#[repr(transparent)]
pub struct Ulong(AtomicUsize);

impl Ulong {
    pub const fn new(number: usize) -> Self {
        Self(AtomicUsize::new(number))
    }

    pub fn get(&self) -> usize {
        self.0.load(Relaxed)
    }
}

#[repr(transparent)]
pub struct Pair([Int; 2]);

impl Pair {
    pub const fn new([first, second]: [i32; 2]) -> Self {
        Self([Int::new(first), Int::new(second)])
    }

    pub fn get(&self) -> [i32; 2] {
        let Self([first, second]) = self;
        [first.get(), second.get()]
    }

    pub fn set(&self, numbers: [i32; 2]) {
        for (setting, number) in self.0.iter().zip(numbers) {
            setting.set(number);
        }
    }
}

pub struct Entry<T: 'static> {
    name: &'static CStr,
    kind: Kind<T>,
}

enum Kind<T: 'static> {
    Int(fn(&T) -> &Int),
    Ticks(fn(&T) -> &Int),
    Checked {
        number: fn(&T) -> &Int,
        set: fn(&T, i32) -> Result,
    },
    Ulong(fn(&T) -> &Ulong),
    Pair {
        numbers: fn(&T) -> &Pair,
        set: fn(&T, [i32; 2]) -> Result,
    },
    Text {
        show: fn(&T, &mut [u8]) -> usize,
        set: fn(&T, &[u8]) -> Result,
    },
}

impl<T> Entry<T> {
    pub const fn int(name: &'static CStr, number: fn(&T) -> &Int) -> Self {
        let kind = Kind::Int(number);
        Self { name, kind }
    }

    pub const fn ticks(name: &'static CStr, number: fn(&T) -> &Int) -> Self {
        let kind = Kind::Ticks(number);
        Self { name, kind }
    }

    pub const fn checked(
        name: &'static CStr,
        number: fn(&T) -> &Int,
        set: fn(&T, i32) -> Result,
    ) -> Self {
        let kind = Kind::Checked { number, set };
        Self { name, kind }
    }

    pub const fn ulong(name: &'static CStr, number: fn(&T) -> &Ulong) -> Self {
        let kind = Kind::Ulong(number);
        Self { name, kind }
    }

    pub const fn pair(
        name: &'static CStr,
        numbers: fn(&T) -> &Pair,
        set: fn(&T, [i32; 2]) -> Result,
    ) -> Self {
        let kind = Kind::Pair { numbers, set };
        Self { name, kind }
    }

    pub const fn text(
        name: &'static CStr,
        show: fn(&T, &mut [u8]) -> usize,
        set: fn(&T, &[u8]) -> Result,
    ) -> Self {
        let kind = Kind::Text { show, set };
        Self { name, kind }
    }

    /// All namespaces are of the first user namespace here.
    pub const fn for_init_user_ns(self) -> Self {
        self
    }

    pub const fn in_init_user_ns_only(self) -> Self {
        self
    }
}

/// A handler of an access to a file: with a text to write, or without one to read.
pub(crate) type File = std::sync::Arc<dyn Fn(Option<&str>) -> Result<String> + Send + Sync>;

fn access<T>(kind: &Kind<T>, value: &T, written: Option<&str>) -> Result<String> {
    let parse = |text: &str| text.trim().parse::<i32>().map_err(|_| EINVAL);
    match (kind, written) {
        (Kind::Int(number) | Kind::Checked { number, .. }, None) => {
            Ok(number(value).get().to_string())
        }
        (Kind::Ticks(number), None) => Ok((number(value).get() / LINUX_HZ as i32).to_string()),
        (Kind::Text { show, .. }, None) => {
            let mut buffer = [0; 256];
            let len = show(value, &mut buffer);
            Ok(String::from_utf8_lossy(&buffer[..len]).into_owned())
        }
        (Kind::Int(number), Some(text)) => {
            number(value).set(parse(text)?);
            Ok(String::new())
        }
        (Kind::Ticks(number), Some(text)) => {
            number(value).set(parse(text)?.checked_mul(LINUX_HZ as i32).ok_or(EINVAL)?);
            Ok(String::new())
        }
        (Kind::Ulong(number), None) => Ok(number(value).get().to_string()),
        (Kind::Ulong(number), Some(text)) => {
            let parsed = text.trim().parse().map_err(|_| EINVAL)?;
            number(value).0.store(parsed, Relaxed);
            Ok(String::new())
        }
        (Kind::Pair { numbers, .. }, None) => {
            let [first, second] = numbers(value).get();
            Ok(format!("{first}\t{second}"))
        }
        (Kind::Pair { numbers, set }, Some(text)) => {
            let mut new = numbers(value).get();
            for (new, text) in new.iter_mut().zip(text.split_whitespace()) {
                *new = parse(text)?;
            }
            set(value, new).map(|()| String::new())
        }
        (Kind::Checked { set, .. }, Some(text)) => set(value, parse(text)?).map(|()| String::new()),
        (Kind::Text { set, .. }, Some(text)) => set(value, text.as_bytes()).map(|()| String::new()),
    }
}

pub struct Table<T: Send + Sync + 'static> {
    entries: &'static [Entry<T>],
    net: OwnNet,
}

impl<T: Send + Sync + 'static> Table<T> {
    pub fn new(
        net: &OwnNet,
        _path: &'static CStr,
        value: Arc<T>,
        entries: &'static [Entry<T>],
    ) -> Result<Self> {
        if !kernel::memory::permits(GFP_KERNEL) {
            return Err(ENOMEM);
        }
        let mut sysctls = lock(&net.sysctls);
        for entry in entries {
            let value = value.clone();
            let file: File =
                std::sync::Arc::new(move |written| access(&entry.kind, &*value, written));
            sysctls.insert(entry.name, file);
        }
        drop(sysctls);
        Ok(Self {
            entries,
            net: net.clone(),
        })
    }
}

impl<T: Send + Sync> Drop for Table<T> {
    fn drop(&mut self) {
        for entry in self.entries {
            let file = lock(&self.net.sysctls).remove(entry.name);
            drop(file);
        }
    }
}

impl Net {
    fn sysctl_file(&self, name: &CStr) -> Result<File> {
        lock(&self.sysctls).get(name).cloned().ok_or(ENOENT)
    }

    pub fn sysctl(&self, name: &CStr) -> Result<String> {
        self.sysctl_file(name)?(None)
    }

    pub fn set_sysctl(&self, name: &CStr, text: &str) -> Result {
        self.sysctl_file(name)?(Some(text)).map(|_| ())
    }
}
