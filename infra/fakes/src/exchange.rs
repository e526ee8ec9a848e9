//! One request, from its work to its answer, or to the lack of one.

use axum::response::{IntoResponse, Response};
use tokio::sync::oneshot;

use crate::{answer::Answer, wire::Cut};

/// None is an answer the caller never gets.
pub type Ending = Option<Answer>;

/// Cuts the connection before the work is done.
#[derive(Debug)]
pub struct HangUp(oneshot::Sender<()>);

impl HangUp {
    /// The work goes on for nobody.
    pub fn now(self) {
        // The caller may have gone already.
        let _ = self.0.send(());
    }
}

/// Answers with what the work ends in, or cuts the connection.
pub async fn exchange<W>(cut: Cut, work: impl FnOnce(HangUp) -> W) -> Response
where
    W: Future<Output = Ending> + Send + 'static,
{
    let (hang_up, hung_up) = oneshot::channel();
    // A task of its own: a service goes on working when its caller hangs up, and exactly that makes an outcome unknown.
    let work = tokio::spawn(work(HangUp(hang_up)));
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
