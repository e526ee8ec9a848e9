//! One request to a marketplace, from its arrival to its answer, or to the lack of one.

use std::{sync::Arc, time::Duration};

use axum::{
    body::to_bytes,
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use tokio::sync::{oneshot, watch};

use crate::{
    answer::Answer,
    call::{Call, Subject},
    clock,
    faults::Fault,
    market::Market,
    record::{Entry, Outcome, masked_headers, masked_query},
    wire::Cut,
    world::{Admitted, Before, Epoch, Shared},
};

/// More than any marketplace's largest batch.
pub(crate) const MAX_BODY_BYTES: usize = 1024 * 1024;

/// None is an answer the caller never gets.
type Ending = Option<Answer>;

/// Answers one request, or cuts its connection.
pub(crate) async fn exchange<M: Market>(
    shared: Arc<Shared<M>>,
    cut: Cut,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let call = Call::new(parts, body);
    let (subject, number) = begin_entry(&shared, &call);
    // A task of its own: a marketplace goes on working when its caller hangs up, and exactly that makes
    // an outcome unknown.
    let (hang_up, hung_up) = oneshot::channel();
    let work = tokio::spawn(async move {
        let ending = run(&shared, &call, &subject, number, hang_up).await;
        end_entry(&shared, number, ending.as_ref());
        ending
    });
    let ending = tokio::select! {
        // A task that panicked has no answer either.
        ending = work => ending.ok().flatten(),
        Ok(()) = hung_up => None,
    };
    match ending {
        Some(answer) => answer.into_response(),
        None => {
            cut.now();
            Response::default()
        }
    }
}

async fn run<M: Market>(
    shared: &Shared<M>,
    call: &Call,
    subject: &Subject,
    number: u64,
    hang_up: oneshot::Sender<()>,
) -> Ending {
    let mut released = shared.until_released();
    let admitted = shared.world().admit(call, subject, number);
    let Admitted { epoch, fault } = match admitted {
        Ok(admitted) => admitted,
        Err(refused) => return Some(refused),
    };
    let work = Work {
        shared,
        call,
        number,
        epoch,
    };
    work.with(fault, &mut released, hang_up).await
}

/// The work of one admitted request.
struct Work<'a, M: Market> {
    shared: &'a Shared<M>,
    call: &'a Call,
    number: u64,
    epoch: Epoch,
}

impl<M: Market> Work<'_, M> {
    /// `hang_up` cuts the connection before the work is done.
    async fn with(
        self,
        fault: Option<Fault>,
        released: &mut watch::Receiver<u64>,
        hang_up: oneshot::Sender<()>,
    ) -> Ending {
        match fault {
            None => self.answer(None),
            Some(Fault::Delay { ms }) => {
                hold(ms, released).await;
                self.answer(None)
            }
            Some(Fault::TimeoutBeforeCommit { ms }) => {
                hold(ms, released).await;
                None
            }
            Some(Fault::TimeoutAfterCommit { ms }) => {
                self.perform(None);
                hold(ms, released).await;
                None
            }
            Some(Fault::CloseBeforeCommit) => None,
            Some(Fault::CloseAfterCommit) => {
                self.perform(None);
                None
            }
            Some(Fault::CommitLater { ms }) => {
                // The caller may have gone already.
                let _ = hang_up.send(());
                hold(ms, released).await;
                self.perform(None);
                None
            }
            Some(Fault::ErrorBeforeCommit(status)) => self.fail(status),
            Some(Fault::ErrorAfterCommit(status)) => {
                self.perform(None);
                self.fail(status)
            }
            Some(Fault::RateLimited) => self.fail(StatusCode::TOO_MANY_REQUESTS),
            Some(Fault::GarbageBeforeCommit(answer)) => Some(answer),
            Some(Fault::GarbageAfterCommit(answer)) => {
                self.perform(None);
                Some(answer)
            }
            Some(Fault::OrderBefore(order)) => self.answer(Some(&Before::Order(order))),
            Some(Fault::CancelBefore { order, cancel }) => {
                self.answer(Some(&Before::Cancel { order, cancel }))
            }
        }
    }

    fn answer(&self, before: Option<&Before>) -> Ending {
        let answer = self.perform(before)?;
        Some(self.shared.world().dress(self.call, answer))
    }

    fn fail(&self, status: StatusCode) -> Ending {
        Some(self.shared.world().failure(self.call, status))
    }

    /// None when the world was reset meanwhile: what is there now knows nothing of this request.
    fn perform(&self, before: Option<&Before>) -> Ending {
        self.shared.step(|world| {
            (world.epoch() == self.epoch).then(|| world.perform(self.call, self.number, before))
        })
    }
}

/// Waits as long as the script says, or until the faults are cleared.
async fn hold(ms: u64, released: &mut watch::Receiver<u64>) {
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(ms)) => {}
        _ = released.changed() => {}
    }
}

fn begin_entry<M: Market>(shared: &Shared<M>, call: &Call) -> (Subject, u64) {
    let mut world = shared.world();
    let subject = world.market.subject(call);
    let at = clock::iso(world.clock.now());
    let number = world.record.begin(Entry {
        number: 0,
        at,
        method: call.method.to_string(),
        path: call.path.clone(),
        query: masked_query(&call.query),
        headers: masked_headers(&call.headers),
        operation: subject.operation,
        items: subject.items.clone(),
        orders: subject.orders.clone(),
        outcome: Outcome::Running,
        status: None,
        fault: None,
        before: None,
        done: None,
        stock: Vec::new(),
    });
    (subject, number)
}

fn end_entry<M: Market>(shared: &Shared<M>, number: u64, answer: Option<&Answer>) {
    shared.world().record.note(number, |entry| {
        entry.status = answer.map(|answer| answer.status.as_u16());
        entry.outcome = match answer {
            Some(_) => Outcome::Answered,
            None => Outcome::Cut,
        };
    });
}
