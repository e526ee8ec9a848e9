//! The Lambda Runtime API of one execution environment. Each has a listener of its own, as each has in Lambda.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    Result,
    http::{self, Connection, Request},
};

/// The timeout of a function, the longest of the template. It is told as the deadline.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// What the environments of a run are given to do.
pub trait Work: Send + Sync {
    /// The next event, as soon as there is one, with its number. An environment asks for it.
    fn next(&self) -> (usize, String);

    /// Its answer. An error says what is wrong with it.
    fn answered(&self, number: usize, body: &[u8], latency: Duration) -> Result<()>;

    /// Something went wrong: the run is over.
    fn failed(&self, what: String);
}

/// The one invocation that an environment may have at a time.
struct Invocation {
    number: usize,
    id: String,
    handed_out: Instant,
}

/// Serves one environment with `work`; answers its address.
pub fn start(work: Arc<dyn Work>) -> Result<SocketAddr> {
    let current = Arc::new(Mutex::new(None));
    http::listen(move |mut connection| {
        while let Some(request) = connection.read()? {
            serve(&mut connection, &request, &*work, &current)?;
        }
        Ok(())
    })
}

fn serve(
    connection: &mut Connection,
    request: &Request,
    work: &dyn Work,
    current: &Mutex<Option<Invocation>>,
) -> io::Result<()> {
    if request
        .line()
        .starts_with("GET /2018-06-01/runtime/invocation/next ")
    {
        let (number, event) = work.next();
        let id = format!("8476a536-e9f4-11e8-9739-{number:012x}");
        let deadline = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            + TIMEOUT;
        let headers = format!(
            "content-type: application/json\r\n\
             lambda-runtime-aws-request-id: {id}\r\n\
             lambda-runtime-deadline-ms: {}\r\n\
             lambda-runtime-invoked-function-arn: arn:aws:lambda:ap-northeast-2:123456789012:function:bench\r\n\
             lambda-runtime-trace-id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0\r\n",
            deadline.as_millis()
        );
        *current.lock().unwrap_or_else(PoisonError::into_inner) = Some(Invocation {
            number,
            id,
            handed_out: Instant::now(),
        });
        return connection.answer("200 OK", &headers, event.as_bytes());
    }

    let now = Instant::now();
    let invocation = current
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    match invocation {
        Some(Invocation {
            number,
            id,
            handed_out,
        }) if is_response_to(&id, request.line()) => {
            if let Err(error) = work.answered(number, &request.body, now - handed_out) {
                work.failed(error.to_string());
            }
        }
        _ => work.failed(format!(
            "the function said {}: {}",
            request.line(),
            request.text()
        )),
    }
    connection.answer(
        "202 Accepted",
        "content-type: application/json\r\n",
        br#"{"status":"OK"}"#,
    )
}

fn is_response_to(id: &str, line: &str) -> bool {
    line.strip_prefix("POST /2018-06-01/runtime/invocation/")
        .and_then(|rest| rest.strip_prefix(id))
        .is_some_and(|rest| rest.starts_with("/response "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_of_its_invocation() {
        assert!(is_response_to(
            "a-1",
            "POST /2018-06-01/runtime/invocation/a-1/response HTTP/1.1"
        ));
        assert!(!is_response_to(
            "a-1",
            "POST /2018-06-01/runtime/invocation/a-2/response HTTP/1.1"
        ));
        assert!(!is_response_to(
            "a-1",
            "POST /2018-06-01/runtime/invocation/a-1/error HTTP/1.1"
        ));
    }
}
