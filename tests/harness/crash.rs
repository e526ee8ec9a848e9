//! Work that stops in the middle, as a process does that is killed: at any point where it waits for something outside.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// Runs `work` until it has waited `steps` times, and then lets it fall. `None` if it fell, else what it came to.
pub async fn crash_after<T>(steps: usize, work: impl Future<Output = T>) -> Option<T> {
    Crash {
        work: Some(Box::pin(work)),
        steps,
    }
    .await
}

struct Crash<'a, T> {
    work: Option<Pin<Box<dyn Future<Output = T> + 'a>>>,
    steps: usize,
}

impl<T> Future for Crash<'_, T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(work) = &mut self.work else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(outcome) = work.as_mut().poll(context) {
            return Poll::Ready(Some(outcome));
        }
        if self.steps == 0 {
            self.work = None;
            return Poll::Ready(None);
        }
        self.steps -= 1;
        Poll::Pending
    }
}
