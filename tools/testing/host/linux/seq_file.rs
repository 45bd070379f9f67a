// SPDX-License-Identifier: GPL-2.0

//! Files in /proc/net, which a test reads with [`Net::read_file`].

use crate::{
    net::{
        lock,
        Net,
        OwnNet, //
    },
    rcu::{
        self,
        ReadLocked, //
    },
};
use kernel::{
    prelude::*,
    seq_file::SeqFile, //
};

pub trait Single: 'static {
    fn show(net: &Net, seq: &SeqFile);
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Continue,
    End,
}

pub trait Records: 'static {
    type Position: Zeroable + Copy;

    fn show<'rcu>(
        net: &Net,
        rcu: ReadLocked<'rcu>,
        position: &mut Self::Position,
        seq: &SeqFile,
    ) -> Step;
}

pub struct Writer<'a>(pub &'a SeqFile);

impl std::fmt::Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0 .0.borrow_mut().push_str(text);
        Ok(())
    }
}

pub(crate) type Show = fn(&Net, &SeqFile);

fn show_records<T: Records>(net: &Net, seq: &SeqFile) {
    let mut position = T::Position::zeroed();
    while rcu::read(|rcu| T::show(net, rcu, &mut position, seq)) == Step::Continue {}
}

pub struct ProcEntry {
    name: &'static CStr,
    net: OwnNet,
}

impl ProcEntry {
    pub fn single<T: Single>(net: &OwnNet, name: &'static CStr, _mode: u16) -> Result<Self> {
        Self::new(net, name, T::show)
    }

    pub fn records<T: Records>(net: &OwnNet, name: &'static CStr, _mode: u16) -> Result<Self> {
        Self::new(net, name, show_records::<T>)
    }

    fn new(net: &OwnNet, name: &'static CStr, show: Show) -> Result<Self> {
        if !kernel::memory::permits(GFP_KERNEL) {
            return Err(ENOMEM);
        }
        lock(&net.files).insert(name, show);
        Ok(Self {
            name,
            net: net.clone(),
        })
    }
}

impl Drop for ProcEntry {
    fn drop(&mut self) {
        lock(&self.net.files).remove(self.name);
    }
}

impl Net {
    /// Reads all of a file, if there is one of that name.
    pub fn read_file(&self, name: &CStr) -> Option<String> {
        let show = *lock(&self.files).get(name)?;
        let seq = SeqFile::default();
        show(self, &seq);
        Some(seq.0.take())
    }
}
