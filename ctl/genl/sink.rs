// SPDX-License-Identifier: GPL-2.0

//! Netlink messages, to which [`ipvs_core::netlink::dump`] writes.

use ipvs_core::netlink::dump::{
    AttrSink,
    NestMark,
    NoRoom, //
};
use linux::genetlink::Message;

/// A message to which attributes are appended.
pub(super) struct Sink<'a, 'm>(pub(super) &'a mut Message<'m>);

impl AttrSink for Sink<'_, '_> {
    fn put(&mut self, attr: u16, payload: &[u8]) -> Result<(), NoRoom> {
        self.0.put(attr, payload).map_err(|_| NoRoom)
    }

    fn nest_start(&mut self, attr: u16) -> Result<NestMark, NoRoom> {
        self.0.nest_start(attr).map(NestMark).map_err(|_| NoRoom)
    }

    fn nest_end(&mut self, mark: NestMark) {
        self.0.nest_end(mark.0);
    }

    fn nest_cancel(&mut self, mark: NestMark) {
        self.0.nest_cancel(mark.0);
    }
}
