//! The calls of the API: what a path says, and how the call answers.

use axum::http::Method;

use crate::{
    call::{Call, decoded},
    elevenst::{claims::Stage, orders::State, xml::Family},
};

/// A call with what its path says.
#[derive(Clone, Debug)]
pub(super) enum Request {
    List {
        state: State,
        start: String,
        end: String,
    },
    Confirm([String; 5]),
    Ship {
        sent_at: String,
        delivery: String,
        only: Option<(String, String)>,
    },
    Claims {
        stage: Stage,
        start: String,
        end: String,
    },
    Approve {
        claim: String,
        order: String,
        line: String,
    },
    Refuse {
        order: String,
        line: String,
        claim: String,
        sent_on: String,
    },
    Reject([String; 4]),
    States {
        orders: String,
    },
    ReadProduct {
        product: String,
    },
    ReadStock {
        product: String,
    },
    WriteStock {
        stock: String,
    },
    Display {
        product: String,
        stop: bool,
    },
    Price {
        product: String,
        price: String,
    },
    ReplaceOptions {
        product: String,
    },
}

impl Request {
    pub(super) fn of(call: &Call) -> Option<Self> {
        let parts: Vec<String> = call.segments().into_iter().map(decoded).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let ["rest", rest @ ..] = parts.as_slice() else {
            return None;
        };
        match call.method {
            Method::GET => Self::of_get(rest),
            Method::PUT => Self::of_put(rest),
            Method::POST => Self::of_post(rest),
            _ => None,
        }
    }

    /// Reads, and most writes too.
    fn of_get(parts: &[&str]) -> Option<Self> {
        let own = |text: &&str| (*text).to_owned();
        Some(match parts {
            ["ordservices", "reqpackaging", rest @ ..] => {
                let [a, b, c, d, e] = rest else { return None };
                Self::Confirm([a, b, c, d, e].map(own))
            }
            ["ordservices", "reqdelivery", sent_at, _, _, _, delivery] => Self::Ship {
                sent_at: own(sent_at),
                delivery: own(delivery),
                only: None,
            },
            [
                "ordservices",
                "reqdelivery",
                sent_at,
                _,
                _,
                _,
                delivery,
                part,
                order,
                line,
            ] => Self::Ship {
                sent_at: own(sent_at),
                delivery: own(delivery),
                only: (*part == "Y").then(|| (own(order), own(line))),
            },
            ["ordservices", word, start, end] => Self::List {
                state: list_named(word)?,
                start: own(start),
                end: own(end),
            },
            ["claimservice", "cancelreqconf", claim, order, line] => Self::Approve {
                claim: own(claim),
                order: own(order),
                line: own(line),
            },
            [
                "claimservice",
                "cancelreqreject",
                order,
                line,
                claim,
                _,
                sent_on,
                _,
                _,
            ] => Self::Refuse {
                order: own(order),
                line: own(line),
                claim: own(claim),
                sent_on: own(sent_on),
            },
            ["claimservice", "reqrejectorder", order, line, reason, text] => {
                Self::Reject([order, line, reason, text].map(own))
            }
            ["claimservice", "orderlistall", orders] => Self::States {
                orders: own(orders),
            },
            ["claimservice", word, start, end] => Self::Claims {
                stage: match *word {
                    "cancelorders" => Stage::Asked,
                    "canceledorders" => Stage::Done,
                    "withdrawcanceledorders" => Stage::Withdrawn,
                    _ => return None,
                },
                start: own(start),
                end: own(end),
            },
            ["prodmarketservice", "prodmarket", "stck", product] => Self::ReadStock {
                product: own(product),
            },
            ["prodmarketservice", "prodmarket", product] => Self::ReadProduct {
                product: own(product),
            },
            ["prodservices", "product", "price", product, price] => Self::Price {
                product: own(product),
                price: own(price),
            },
            _ => return None,
        })
    }

    fn of_put(parts: &[&str]) -> Option<Self> {
        Some(match parts {
            ["prodservices", "stockqty", stock] => Self::WriteStock {
                stock: (*stock).to_owned(),
            },
            ["prodstatservice", "stat", "stopdisplay", product] => Self::Display {
                product: (*product).to_owned(),
                stop: true,
            },
            ["prodstatservice", "stat", "restartdisplay", product] => Self::Display {
                product: (*product).to_owned(),
                stop: false,
            },
            _ => return None,
        })
    }

    fn of_post(parts: &[&str]) -> Option<Self> {
        match parts {
            ["prodservices", "updateProductOption", product] => Some(Self::ReplaceOptions {
                product: (*product).to_owned(),
            }),
            _ => None,
        }
    }

    /// The word of its path.
    pub(super) fn operation(&self) -> &'static str {
        match self {
            Self::List { state, .. } => state.word(),
            Self::Confirm(_) => "reqpackaging",
            Self::Ship { .. } => "reqdelivery",
            Self::Claims { stage, .. } => match stage {
                Stage::Asked => "cancelorders",
                Stage::Done => "canceledorders",
                Stage::Withdrawn | Stage::Refused => "withdrawcanceledorders",
            },
            Self::Approve { .. } => "cancelreqconf",
            Self::Refuse { .. } => "cancelreqreject",
            Self::Reject(_) => "reqrejectorder",
            Self::States { .. } => "orderlistall",
            Self::ReadProduct { .. } => "product",
            Self::ReadStock { .. } => "stck",
            Self::WriteStock { .. } => "stockqty",
            Self::Display { stop: true, .. } => "stopdisplay",
            Self::Display { stop: false, .. } => "restartdisplay",
            Self::Price { .. } => "price",
            Self::ReplaceOptions { .. } => "updateProductOption",
        }
    }

    pub(super) fn family(&self) -> Family {
        match self {
            Self::List { .. } | Self::Claims { .. } | Self::States { .. } => Family::List,
            Self::Confirm(_)
            | Self::Ship { .. }
            | Self::Approve { .. }
            | Self::Refuse { .. }
            | Self::Reject(_) => Family::Write,
            Self::ReadProduct { .. }
            | Self::ReadStock { .. }
            | Self::WriteStock { .. }
            | Self::Display { .. }
            | Self::Price { .. }
            | Self::ReplaceOptions { .. } => Family::Message,
        }
    }

    pub(super) fn items(&self) -> Vec<String> {
        match self {
            Self::ReadProduct { product }
            | Self::ReadStock { product }
            | Self::Display { product, .. }
            | Self::Price { product, .. }
            | Self::ReplaceOptions { product } => vec![product.clone()],
            Self::WriteStock { stock } => vec![stock.clone()],
            Self::List { .. }
            | Self::Confirm(_)
            | Self::Ship { .. }
            | Self::Claims { .. }
            | Self::Approve { .. }
            | Self::Refuse { .. }
            | Self::Reject(_)
            | Self::States { .. } => Vec::new(),
        }
    }

    pub(super) fn orders(&self) -> Vec<String> {
        match self {
            Self::Confirm([order, ..]) | Self::Reject([order, ..]) => vec![order.clone()],
            Self::Approve { order, .. } | Self::Refuse { order, .. } => vec![order.clone()],
            Self::Ship { delivery, only, .. } => match only {
                Some((order, _)) => vec![delivery.clone(), order.clone()],
                None => vec![delivery.clone()],
            },
            Self::States { orders } => orders.split(',').map(str::to_owned).collect(),
            Self::List { .. }
            | Self::Claims { .. }
            | Self::ReadProduct { .. }
            | Self::ReadStock { .. }
            | Self::WriteStock { .. }
            | Self::Display { .. }
            | Self::Price { .. }
            | Self::ReplaceOptions { .. } => Vec::new(),
        }
    }
}

fn list_named(word: &str) -> Option<State> {
    let lists = [
        State::Standby,
        State::Complete,
        State::Packaging,
        State::Shipping,
        State::Delivered,
        State::Completed,
    ];
    lists.into_iter().find(|state| state.word() == word)
}
