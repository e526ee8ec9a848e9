//! Answers as SmartStore writes them. The gateway, the order API and the product API each have an error shape.

use axum::http::StatusCode;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::{answer::Answer, clock::iso};

/// An order error: a number, and 200 around it when it is only about some of the ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OrderError {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: &'static str,
}

impl OrderError {
    pub(super) const BAD_PARAMETER: Self =
        Self::new(StatusCode::BAD_REQUEST, "4000", "A parameter is wrong.");
    pub(super) const NO_LINE: Self = Self::new(
        StatusCode::BAD_REQUEST,
        "100001",
        "There is no such product order.",
    );
    pub(super) const NO_ORDER: Self =
        Self::new(StatusCode::BAD_REQUEST, "100003", "There is no such order.");
    pub(super) const DUPLICATE: Self = Self::new(
        StatusCode::BAD_REQUEST,
        "104131",
        "A product order id is there twice.",
    );
    pub(super) const RANGE: Self = Self::new(
        StatusCode::BAD_REQUEST,
        "104139",
        "The queryable date range is exceeded.",
    );
    pub(super) const STATE: Self = Self::new(
        StatusCode::BAD_REQUEST,
        "104442",
        "Check the state of the product order.",
    );
    pub(super) const PLACE_STATE: Self = Self::new(
        StatusCode::BAD_REQUEST,
        "104443",
        "Check the place-order state.",
    );
    pub(super) const SAME_STATE: Self = Self::new(
        StatusCode::BAD_REQUEST,
        "105306",
        "The requested state is the current state.",
    );
    pub(super) const COURIER: Self = Self::new(
        StatusCode::BAD_REQUEST,
        "104118",
        "The courier or the invoice number is missing.",
    );

    const fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self {
            status,
            code,
            message,
        }
    }

    /// As it stands among the failures of a batch.
    pub(super) fn of_line(self, line: &str) -> Value {
        json!({ "productOrderId": line, "code": self.code, "message": self.message })
    }
}

/// One input that the product API or the token endpoint refuses.
#[derive(Clone, Debug)]
pub(super) struct Invalid {
    name: String,
    kind: &'static str,
    message: String,
}

impl Invalid {
    pub(super) fn new(name: &str, kind: &'static str, message: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            message: message.to_owned(),
        }
    }

    pub(super) fn missing(name: &str) -> Self {
        Self::new(name, "NotNull", "It is required.")
    }
}

/// When an answer is made, and the id that its support would ask for.
#[derive(Debug)]
pub(super) struct Stamp {
    pub(super) now: OffsetDateTime,
    pub(super) trace: String,
}

impl Stamp {
    /// What the order API answers when it worked.
    pub(super) fn data(&self, data: &Value) -> Answer {
        self.sent(
            StatusCode::OK,
            &json!({ "timestamp": iso(self.now), "traceId": self.trace, "data": data }),
        )
    }

    /// What the product API and the token endpoint answer when it worked: no envelope.
    pub(super) fn bare(&self, body: &Value) -> Answer {
        self.sent(StatusCode::OK, body)
    }

    pub(super) fn order_error(&self, error: OrderError) -> Answer {
        self.traced(error.status, error.code, error.message)
    }

    /// The gateway in front of every API, in its own words.
    pub(super) fn gateway(&self, status: StatusCode, code: &str, message: &str) -> Answer {
        self.traced(status, code, message)
    }

    /// The product API's refusal of what was sent.
    pub(super) fn invalid(&self, inputs: &[Invalid]) -> Answer {
        self.refused(StatusCode::BAD_REQUEST, "BAD_REQUEST", inputs)
    }

    pub(super) fn no_product(&self) -> Answer {
        self.refused(StatusCode::NOT_FOUND, "NOT_FOUND", &[])
    }

    fn refused(&self, status: StatusCode, code: &str, inputs: &[Invalid]) -> Answer {
        let inputs: Vec<_> = inputs
            .iter()
            .map(
                |input| json!({ "name": input.name, "type": input.kind, "message": input.message }),
            )
            .collect();
        self.sent(
            status,
            &json!({
                "code": code,
                "message": "The request was refused.",
                "invalidInputs": inputs,
                "timestamp": iso(self.now),
            }),
        )
    }

    fn traced(&self, status: StatusCode, code: &str, message: &str) -> Answer {
        self.sent(
            status,
            &json!({
                "code": code,
                "message": message,
                "timestamp": iso(self.now),
                "traceId": self.trace,
            }),
        )
    }

    fn sent(&self, status: StatusCode, body: &Value) -> Answer {
        Answer::json(status, body).with_header("gncp-gw-trace-id", &self.trace)
    }
}
