// SPDX-License-Identifier: GPL-2.0

//! Tests of [`linux::net`]: a module's value for each network namespace.

use crate::{
    ledger::{
        Ledger,
        Token, //
    },
    wait, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};
use linux::{
    atomic::{
        Atomic,
        Relaxed, //
    },
    jiffies::HZ,
    kthread::{
        Main,
        Settings,
        This,
        Thread, //
    },
    net::{
        Net,
        OwnNet,
        PerNet,
        Registration,
        Registry, //
        WeakNet,
    },
    rcu, //
};

/// The data that all values are created from; number 0 in the ledger.
struct Common {
    story: Arc<Story>,
    _token: Token,
}

/// Counts what happens to the values.
struct Story {
    ledger: Arc<Ledger>,
    /// Creating a value fails.
    refuse: bool,
    made: Atomic<u32>,
    shut: Atomic<usize>,
    /// The number of values dropped before they were shut, or after the data that they were created
    /// from.
    wrong: Atomic<usize>,
    /// A reference to the first namespace that outlives its value. A thread drops it.
    kept: Arc<Kept>,
}

/// See [`Story::kept`].
#[pin_data]
struct Kept {
    wanted: bool,
    #[pin]
    net: Mutex<Option<OwnNet>>,
    let_go: Atomic<bool>,
}

impl Kept {
    fn new(wanted: bool) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                wanted,
                net <- new_mutex!(None),
                let_go: Atomic::new(false),
            }),
            GFP_KERNEL,
        )
    }
}

/// Drops the reference some time after the values were shut.
struct Letting(Arc<Story>);

impl Main for Letting {
    fn main(&self, this: &This) {
        wait::until(|| self.0.shut.load(Relaxed) != 0);
        this.sleep(HZ as usize / 4);
        self.0.kept.let_go.store(true, Relaxed);
        drop(self.0.kept.net.lock().take());
    }
}

/// A value; numbers from 1 on in the ledger.
struct Value {
    story: Arc<Story>,
    is_shut: Atomic<bool>,
    token: Token,
}

impl PerNet for Value {
    type Common = Common;

    fn new(net: OwnNet, _weak: WeakNet, common: &Common) -> Result<Pin<KBox<Self>>> {
        let story = common.story.clone();
        if story.kept.wanted && net.is_init() {
            *story.kept.net.lock() = Some(net);
        }
        if story.refuse {
            return Err(EDOM);
        }
        let number = story.made.fetch_add(1, Relaxed) + 1;
        let value = Self {
            token: story.ledger.token(number),
            is_shut: Atomic::new(false),
            story,
        };
        Ok(KBox::pin(value, GFP_KERNEL)?)
    }

    fn shut(self: Pin<&Self>) {
        self.is_shut.store(true, Relaxed);
        self.story.shut.fetch_add(1, Relaxed);
    }

    fn registry() -> &'static Registry<Self> {
        static REGISTRY: Registry<Value> = Registry::new();
        &REGISTRY
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        if !self.is_shut.load(Relaxed) || self.story.ledger.drops_of(0) != 0 {
            self.story.wrong.fetch_add(1, Relaxed);
        }
    }
}

fn story(refuse: bool) -> Result<(Arc<Story>, Common)> {
    story_with(refuse, false)
}

fn story_with(refuse: bool, keep: bool) -> Result<(Arc<Story>, Common)> {
    let story = Story {
        kept: Kept::new(keep)?,
        ledger: Ledger::new(64)?,
        refuse,
        made: Atomic::new(0),
        shut: Atomic::new(0),
        wrong: Atomic::new(0),
    };
    let story = Arc::new(story, GFP_KERNEL)?;
    let common = Common {
        _token: story.ledger.token(0),
        story: story.clone(),
    };
    Ok((story, common))
}

/// Returns the number of the value of the initial namespace.
fn number() -> Option<u32> {
    rcu::read(|rcu| Some(Net::init().get::<Value>(rcu)?.token.number()))
}

#[kunit_tests(linux_net)]
mod cases {
    use super::*;

    #[test]
    fn a_namespace_has_its_value_while_the_type_is_registered() -> Result {
        let (story, common) = story(false)?;
        let registration = Registration::<Value>::new(common)?;
        let made = story.made.load(Relaxed);
        assert!(made >= 1);
        assert!(number().is_some_and(|number| (1..=made).contains(&number)));
        assert!(story.ledger.dropped() == 0);
        drop(registration);
        // All values, and the data that they were created from.
        assert!(story.ledger.dropped() == made as usize + 1);
        assert!((0..=made).all(|number| story.ledger.drops_of(number) == 1));
        Ok(())
    }

    #[test]
    fn there_is_no_value_before_and_after() -> Result {
        assert!(number().is_none());
        let (_story, common) = story(false)?;
        let registration = Registration::<Value>::new(common)?;
        assert!(number().is_some());
        drop(registration);
        assert!(number().is_none());
        Ok(())
    }

    #[test]
    fn a_type_is_registered_once_at_a_time() -> Result {
        let (_story, common) = story(false)?;
        let registration = Registration::<Value>::new(common)?;
        let (refused, other) = story(false)?;
        assert!(Registration::<Value>::new(other).err() == Some(EBUSY));
        assert!(refused.ledger.order_is(&[0]));
        assert!(number().is_some());
        drop(registration);
        Ok(())
    }

    #[test]
    fn a_namespace_waits_for_those_who_refer_to_it() -> Result {
        let (story, common) = story_with(false, true)?;
        let registration = Registration::<Value>::new(common)?;
        let thread = Thread::new(Letting(story.clone()), c"kunit net", Settings::default())?;
        thread.start();
        drop(registration);
        assert!(story.kept.let_go.load(Relaxed));
        assert!(story.kept.net.lock().is_none());
        drop(thread);
        Ok(())
    }

    #[test]
    fn values_are_shut_then_dropped_then_what_they_have_in_common() -> Result {
        let (story, common) = story(false)?;
        drop(Registration::<Value>::new(common)?);
        let made = story.made.load(Relaxed) as usize;
        assert!(made >= 1 && story.shut.load(Relaxed) == made);
        assert!(story.wrong.load(Relaxed) == 0);
        Ok(())
    }

    #[test]
    fn a_type_can_be_registered_again() -> Result {
        for _ in 0..3 {
            let (story, common) = story(false)?;
            let registration = Registration::<Value>::new(common)?;
            assert!(number().is_some());
            drop(registration);
            assert!(story.ledger.drops_of(0) == 1);
        }
        Ok(())
    }

    #[test]
    fn without_a_value_nothing_is_registered_and_all_is_given_back() -> Result {
        let (story, common) = story(true)?;
        assert!(Registration::<Value>::new(common).err() == Some(EDOM));
        assert!(story.ledger.order_is(&[0]));
        assert!(story.shut.load(Relaxed) == 0);
        Ok(())
    }
}
