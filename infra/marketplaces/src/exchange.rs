//! One request to a marketplace, from its arrival to its answer, or to the lack of one.

use std::sync::Arc;

use axum::{
    body::to_bytes,
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use fakes::{
    Cut,
    epoch::Epoch,
    exchange::{self, Ending, HangUp},
    hold::Released,
    record::{End, Number},
};

use crate::{
    answer::Answer,
    call::{Call, Subject},
    clock,
    faults::Fault,
    market::Market,
    record::{Entry, masked_headers, masked_query},
    world::{Admitted, Before, Shared},
};

/// More than any marketplace's largest batch.
pub(crate) const MAX_BODY_BYTES: usize = 1024 * 1024;

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
    exchange::exchange(cut, async move |hang_up| {
        let ending = run(&shared, &call, &subject, number, hang_up).await;
        end_entry(&shared, number, ending.as_ref());
        ending
    })
    .await
}

async fn run<M: Market>(
    shared: &Shared<M>,
    call: &Call,
    subject: &Subject,
    number: Number,
    hang_up: HangUp,
) -> Ending {
    let mut released = shared.release.awaited();
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
    number: Number,
    epoch: Epoch,
}

impl<M: Market> Work<'_, M> {
    /// `hang_up` cuts the connection before the work is done.
    async fn with(self, fault: Option<Fault>, released: &mut Released, hang_up: HangUp) -> Ending {
        match fault {
            None => self.answer(None),
            Some(Fault::Around(trouble)) => {
                let work = || self.perform(None);
                self.dress(trouble.around(work, released, hang_up).await)
            }
            Some(Fault::ErrorBeforeCommit(status)) => self.fail(status),
            Some(Fault::ErrorAfterCommit(status)) => {
                self.perform(None);
                self.fail(status)
            }
            Some(Fault::RateLimited { retry_after_s }) => {
                let answer = self.fail(StatusCode::TOO_MANY_REQUESTS)?;
                Some(match retry_after_s {
                    Some(s) => answer.with_header("retry-after", &s.to_string()),
                    None => answer,
                })
            }
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
        self.dress(self.perform(before))
    }

    fn dress(&self, ending: Ending) -> Ending {
        Some(self.shared.world().dress(self.call, ending?))
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

fn begin_entry<M: Market>(shared: &Shared<M>, call: &Call) -> (Subject, Number) {
    let mut world = shared.world();
    let subject = world.market.subject(call);
    let at = clock::iso(world.clock.now());
    let number = world.record.begin(|number| Entry {
        number,
        at,
        method: call.method.to_string(),
        path: call.path.clone(),
        query: masked_query(&call.query),
        headers: masked_headers(&call.headers),
        operation: subject.operation,
        items: subject.items.clone(),
        orders: subject.orders.clone(),
        end: End::RUNNING,
        fault: None,
        before: None,
        done: None,
        stock: Vec::new(),
    });
    (subject, number)
}

fn end_entry<M: Market>(shared: &Shared<M>, number: Number, answer: Option<&Answer>) {
    shared.world().record.note(number, |entry| {
        entry.end = End::with(answer.map(|answer| answer.status));
    });
}
