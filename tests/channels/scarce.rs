//! A quota that is tight, in the time that tests let pass.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use onepool::{
    channel::{
        Failure,
        quota::{Quota, Rate, Seen, Urgency},
    },
    clock::{self, Timestamp},
};

/// So many calls at once, and so many more each second. Who has to wait is sent away at once.
pub(crate) struct Scarce {
    most: f64,
    per_second: f64,
    left: Mutex<Left>,
}

struct Left {
    calls: f64,
    /// As of when; ahead if nothing is given until then.
    at: Timestamp,
}

impl Scarce {
    pub(crate) fn new(most: u32, per_second: f64) -> Self {
        let calls = f64::from(most);
        let at = clock::now();
        Self {
            most: calls,
            per_second,
            left: Mutex::new(Left { calls, at }),
        }
    }

    fn take(&self) -> Result<(), Duration> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::now();
        if left.at > now {
            return Err(left.at.since(now));
        }
        let came = now.since(left.at).as_secs_f64() * self.per_second;
        left.calls = (left.calls + came).min(self.most);
        left.at = now;
        if left.calls < 1.0 {
            return Err(Duration::from_secs_f64(
                (1.0 - left.calls) / self.per_second,
            ));
        }
        left.calls -= 1.0;
        Ok(())
    }
}

impl Quota for Scarce {
    fn permit<'a>(
        &'a self,
        bucket: &'a str,
        _: Rate,
        _: Urgency,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        let turn = self.take().map_err(|after| Failure::Turn {
            reason: format!("the quota of {bucket} is used up"),
            after,
        });
        std::future::ready(turn).boxed()
    }

    fn observe<'a>(&'a self, _: &'a str, seen: Seen) -> BoxFuture<'a, ()> {
        if let Seen::Blocked(span) = seen {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            *left = Left {
                calls: 1.0,
                at: clock::now() + span,
            };
        }
        std::future::ready(()).boxed()
    }
}
