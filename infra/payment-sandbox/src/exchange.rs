//! One request to the Toss API, from its arrival to its answer, or to the lack of one.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes, to_bytes},
    http::{HeaderMap, request::Parts},
    response::Response,
};
use fakes::{
    Cut,
    epoch::Epoch,
    exchange::{self, Ending, HangUp},
    hold::Released,
    record::{End, Number},
};

use crate::{
    answer::{Answer, Refusal},
    authorization::authorize,
    clock,
    faults::Fault,
    idempotency::{Identity, Seen, still_processing},
    record::Entry,
    requests::{Call, Command, parse},
    settings::Settings,
    world::{Admitted, Shared},
};

pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;

/// A request that may be worked on.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) call: Call,
    /// A body that is refused is refused by the work, so that the refusal is kept for repeats too.
    pub(crate) command: Result<Command, Refusal>,
    pub(crate) identity: Option<Identity>,
    pub(crate) test_code: Option<String>,
}

impl Request {
    pub(crate) fn order_id(&self) -> Option<&str> {
        match &self.command {
            Ok(
                Command::Charge { order_id, .. }
                | Command::Confirm { order_id, .. }
                | Command::LookupByOrder { order_id },
            ) => Some(order_id),
            Ok(Command::LookupByKey { .. } | Command::Cancel { .. }) | Err(_) => None,
        }
    }
}

/// Answers one request, or cuts its connection.
pub(crate) async fn exchange(
    shared: Arc<Shared>,
    cut: Cut,
    call: Call,
    parts: Parts,
    body: Body,
) -> Response {
    let body = to_bytes(body, MAX_BODY_BYTES).await;
    let request = accept(&shared.settings, call.clone(), &parts, body.as_ref().ok());
    let number = begin_entry(&shared, &call, &parts, request.as_ref().ok());
    exchange::exchange(cut, async move |hang_up| {
        let ending = match request {
            Err(refusal) => Some(Answer::from(refusal)),
            Ok(request) => run(&shared, &request, number, hang_up).await,
        };
        end_entry(&shared, number, ending.as_ref());
        ending
    })
    .await
}

/// What is refused here never reaches the service's work: it is not kept for repeats.
fn accept(
    settings: &Settings,
    call: Call,
    parts: &Parts,
    body: Option<&Bytes>,
) -> Result<Request, Refusal> {
    authorize(&parts.headers, &settings.secret_key)?;
    let body = body.ok_or_else(|| Refusal::invalid_request("The body is longer than 64 KiB."))?;
    Ok(Request {
        command: parse(&call, body),
        identity: Identity::of(&parts.method, &parts.uri, &parts.headers)?,
        test_code: test_code(settings, &parts.headers),
        call,
    })
}

/// The error a test asks for; live keys cannot ask.
fn test_code(settings: &Settings, headers: &HeaderMap) -> Option<String> {
    let code = headers.get("tosspayments-test-code")?.to_str().ok()?;
    (settings.is_test_key() && !code.is_empty()).then(|| code.to_owned())
}

async fn run(shared: &Shared, request: &Request, number: Number, hang_up: HangUp) -> Ending {
    let mut released = shared.release.awaited();
    let admitted = {
        let mut world = shared.world();
        let admitted = world.admit(request);
        if let Ok(Admitted { seen, kind, .. }) = &admitted {
            world.record.note(number, |entry| {
                entry.fault = *kind;
                entry.replayed = matches!(seen, Seen::Answered(_));
            });
        }
        admitted
    };
    let Admitted {
        epoch, seen, fault, ..
    } = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => return Some(refusal.into()),
    };
    let earlier = match seen {
        Seen::Running => return Some(still_processing().into()),
        Seen::Answered(answer) => Some(answer),
        Seen::Never => None,
    };
    let work = Work {
        shared,
        request,
        epoch,
        earlier,
    };
    work.with(fault, &mut released, hang_up).await
}

/// The work of one admitted request; for a repeat it is to find the first answer.
struct Work<'a> {
    shared: &'a Shared,
    request: &'a Request,
    epoch: Epoch,
    earlier: Option<Answer>,
}

impl Work<'_> {
    /// `hang_up` cuts the connection before the work is done.
    async fn with(self, fault: Option<Fault>, released: &mut Released, hang_up: HangUp) -> Ending {
        match fault {
            None => self.perform(None),
            Some(Fault::Around(trouble)) => {
                trouble
                    .around(|| self.perform(None), released, hang_up)
                    .await
            }
            Some(Fault::Decline(refusal)) => {
                Some(self.shared.world().decline(self.request, &refusal))
            }
            Some(Fault::ExpiredSession) => Some(self.shared.world().expire(self.request)),
            Some(Fault::StillProcessing) => Some(still_processing().into()),
            Some(Fault::ErrorBeforeCommit(error)) => {
                let answer = error.refusal.with(error.status);
                if error.recorded {
                    self.shared.world().settle(self.request, &answer);
                }
                Some(answer)
            }
            Some(Fault::ErrorAfterCommit(error)) => {
                let answer = error.refusal.with(error.status);
                self.perform(error.recorded.then(|| answer.clone()));
                Some(answer)
            }
        }
    }

    /// None when the world was reset meanwhile: its payments know nothing of this request.
    fn perform(&self, instead: Option<Answer>) -> Ending {
        if let Some(earlier) = &self.earlier {
            return Some(earlier.clone());
        }
        let mut world = self.shared.world();
        (world.epoch() == self.epoch).then(|| world.perform(self.request, instead))
    }
}

fn begin_entry(shared: &Shared, call: &Call, parts: &Parts, request: Option<&Request>) -> Number {
    let path = match call {
        // A billing key can be charged by whoever knows it.
        Call::Billing { .. } => "/v1/billing/***".to_owned(),
        Call::Confirm
        | Call::LookupByKey { .. }
        | Call::LookupByOrder { .. }
        | Call::Cancel { .. } => parts.uri.path().to_owned(),
    };
    let identity = request.and_then(|request| request.identity.as_ref());
    let mut world = shared.world();
    let at = clock::iso(world.clock.now());
    world.record.begin(|_| Entry {
        at,
        method: parts.method.to_string(),
        path,
        order_id: request.and_then(Request::order_id).map(str::to_owned),
        idempotency_key: identity.map(|identity| identity.key().to_owned()),
        end: End::RUNNING,
        fault: None,
        replayed: false,
    })
}

fn end_entry(shared: &Shared, number: Number, answer: Option<&Answer>) {
    shared.world().record.note(number, |entry| {
        entry.end = End::with(answer.map(|answer| answer.status));
    });
}
