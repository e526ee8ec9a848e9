//! Orders and their lines, from payment to delivery.

use std::collections::HashMap;

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::{
    answer::{Answer, Refusal},
    clock::iso,
    elevenst::{
        claims::Claim,
        goods::Bought,
        windows::{Window, day, minute, seconds},
        xml::{Family, Verdict, list},
    },
    market::{MAX_HELD, NewOrder},
};

/// What a seller has to dispatch within.
const DISPATCH_WITHIN: Duration = Duration::days(2);

/// Where a line stands. Each state but the last is a list of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Waits for its payment.
    Standby,
    /// Paid, and not confirmed by the seller.
    Complete,
    Packaging,
    Shipping,
    Delivered,
    /// The buyer has decided to keep it.
    Completed,
    Cancelled,
}

impl State {
    const ALL: [Self; 7] = [
        Self::Standby,
        Self::Complete,
        Self::Packaging,
        Self::Shipping,
        Self::Delivered,
        Self::Completed,
        Self::Cancelled,
    ];

    /// The word for it in the paths.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Standby => "standby",
            Self::Complete => "complete",
            Self::Packaging => "packaging",
            Self::Shipping => "shipping",
            Self::Delivered => "dlvcompleted",
            Self::Completed => "completed",
            Self::Cancelled => "canceled",
        }
    }

    /// `ordPrdStat`.
    fn code(self) -> &'static str {
        match self {
            Self::Standby => "101",
            Self::Complete => "202",
            Self::Packaging => "301",
            Self::Shipping => "401",
            Self::Delivered => "501",
            Self::Completed => "901",
            Self::Cancelled => "B01",
        }
    }

    /// Nothing has been sent, so it can still be cancelled.
    pub(crate) fn is_before_shipping(self) -> bool {
        match self {
            Self::Standby | Self::Complete | Self::Packaging => true,
            Self::Shipping | Self::Delivered | Self::Completed | Self::Cancelled => false,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) seq: usize,
    pub(crate) bought: Bought,
    /// Units that are not cancelled. Whether a real list shows these or the units ordered is not documented.
    pub(crate) left: u64,
    ordered: u64,
    pub(crate) state: State,
    /// When it came into its state: by this the lists are cut.
    since: OffsetDateTime,
    ordered_at: OffsetDateTime,
    paid_at: Option<OffsetDateTime>,
    confirmed_at: Option<OffsetDateTime>,
    pub(crate) claims: Vec<Claim>,
}

impl Line {
    pub(crate) fn go(&mut self, state: State, now: OffsetDateTime) {
        self.state = state;
        self.since = now;
        match state {
            State::Complete => self.paid_at = Some(now),
            State::Packaging => self.confirmed_at = Some(now),
            State::Standby
            | State::Shipping
            | State::Delivered
            | State::Completed
            | State::Cancelled => {}
        }
    }

    fn unit_price(&self) -> u64 {
        self.bought.price.saturating_add_signed(self.bought.extra)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) no: String,
    /// One delivery for all lines: it ships them together.
    pub(crate) delivery_no: String,
    buyer: String,
    pub(crate) lines: Vec<Line>,
}

impl Order {
    pub(crate) fn line_mut(&mut self, seq: &str) -> Result<&mut Line, Refusal> {
        let seq = seq.to_owned();
        self.lines
            .iter_mut()
            .find(|line| line.seq.to_string() == seq)
            .ok_or_else(|| Refusal::not_found("line", &seq))
    }

    /// A line as `orderlistall` shows it: with all units that were bought, and those that claims have taken or ask for.
    fn standing(&self, line: &Line) -> Vec<(&'static str, String)> {
        let mut row = self.row(line);
        for (name, text) in &mut row {
            match *name {
                "ordQty" => *text = line.ordered.to_string(),
                "ordPrdStat" if line.is_asked_to_cancel() => *text = "701".to_owned(),
                _ => {}
            }
        }
        row.push(("ordCnQty", line.units_in_claims().to_string()));
        row
    }

    fn row(&self, line: &Line) -> Vec<(&'static str, String)> {
        let bought = &line.bought;
        let bundled = if self.lines.len() > 1 { "Y" } else { "N" };
        let option = match bought.option_text() {
            Some(option) => format!("{option}-{}개", line.left),
            None => format!("{}개", line.left),
        };
        let extra = bought.extra * i64::try_from(line.left).unwrap_or(0);
        let amount = line.unit_price() * line.left;
        let discount = bought.discount * line.left;
        let zero = || "0".to_owned();
        vec![
            ("ordNo", self.no.clone()),
            ("ordPrdSeq", line.seq.to_string()),
            ("dlvNo", self.delivery_no.clone()),
            ("addPrdYn", "N".to_owned()),
            ("addPrdNo", zero()),
            ("bndlDlvYN", bundled.to_owned()),
            ("bndlDlvSeq", zero()),
            ("prdNo", bought.product_no.clone()),
            ("prdNm", bought.product_name.clone()),
            ("sellerPrdCd", bought.product_code.clone()),
            ("prdStckNo", bought.stock_no.clone()),
            ("sellerStockCd", bought.stock_code.clone()),
            ("slctPrdOptNm", option),
            ("ordQty", line.left.to_string()),
            ("selPrc", bought.price.to_string()),
            ("ordOptWonStl", extra.to_string()),
            ("ordAmt", amount.to_string()),
            ("ordPayAmt", amount.saturating_sub(discount).to_string()),
            ("sellerDscPrc", discount.to_string()),
            ("tmallDscPrc", zero()),
            ("lstSellerDscPrc", discount.to_string()),
            ("lstTmallDscPrc", zero()),
            ("dlvCst", zero()),
            ("dlvCstType", "03".to_owned()),
            ("bmDlvCst", zero()),
            ("ordDt", seconds(Some(line.ordered_at))),
            ("ordStlEndDt", seconds(line.paid_at)),
            ("plcodrCnfDt", seconds(line.confirmed_at)),
            (
                "dlvSndDue",
                seconds(line.paid_at.map(|at| at + DISPATCH_WITHIN)),
            ),
            ("ordPrdStat", line.state.code().to_owned()),
            ("ordNm", self.buyer.clone()),
            ("ordPrtblTel", "010-0000-0000".to_owned()),
            ("ordTlphnNo", "null".to_owned()),
            ("memID", "demo****".to_owned()),
            ("rcvrNm", self.buyer.clone()),
            ("rcvrPrtblNo", "010-0000-0000".to_owned()),
            ("rcvrTlphn", "null".to_owned()),
            ("rcvrMailNo", "04637".to_owned()),
            ("rcvrBaseAddr", "서울특별시 중구 한강대로 1".to_owned()),
            ("rcvrDtlsAddr", "101호".to_owned()),
            ("ordDlvReqCont", "null".to_owned()),
            ("typeAdd", "02".to_owned()),
        ]
    }
}

#[derive(Debug, Default)]
pub(crate) struct Orders {
    all: Vec<Order>,
    places: HashMap<String, usize>,
}

impl Orders {
    pub(crate) fn have_room(&self) -> Result<(), Refusal> {
        if self.all.len() < MAX_HELD {
            Ok(())
        } else {
            Err(Refusal::impossible("There are too many orders."))
        }
    }

    pub(crate) fn place(
        &mut self,
        order: &NewOrder,
        bought: Vec<Bought>,
        now: OffsetDateTime,
    ) -> Value {
        let number = self.all.len() + 1;
        let state = if order.paid {
            State::Complete
        } else {
            State::Standby
        };
        let lines = order
            .lines
            .iter()
            .zip(bought)
            .enumerate()
            .map(|(place, (line, bought))| Line {
                seq: place + 1,
                bought,
                left: line.quantity,
                ordered: line.quantity,
                state,
                since: now,
                ordered_at: now,
                paid_at: order.paid.then_some(now),
                confirmed_at: None,
                claims: Vec::new(),
            })
            .collect();
        let order = Order {
            no: format!("{}{number:09}", day(now)),
            delivery_no: (2_600_000_000 + number).to_string(),
            buyer: order.buyer.clone().unwrap_or_else(|| "홍길동".to_owned()),
            lines,
        };
        let lines: Vec<_> = order
            .lines
            .iter()
            .map(|line| {
                json!({
                    "lineId": line.seq.to_string(),
                    "productId": line.bought.product_no,
                    "optionId": line.bought.stock_no,
                    "quantity": line.ordered,
                })
            })
            .collect();
        let shown = json!({
            "orderId": order.no,
            "deliveryId": order.delivery_no,
            "lines": lines,
        });
        self.places.insert(order.no.clone(), self.all.len());
        self.all.push(order);
        shown
    }

    pub(crate) fn show(&self) -> Vec<Value> {
        self.all.iter().map(shown).collect()
    }

    pub(crate) fn order_mut(&mut self, no: &str) -> Result<&mut Order, Refusal> {
        let place = self.places.get(no).copied();
        place
            .and_then(|place| self.all.get_mut(place))
            .ok_or_else(|| Refusal::not_found("order", no))
    }

    /// The line that an API call names, or the business error for one that is not there.
    pub(crate) fn line_mut(&mut self, no: &str, seq: &str) -> Result<&mut Line, Verdict> {
        self.order_mut(no)
            .and_then(|order| order.line_mut(seq))
            .map_err(|_| Verdict::business("해당 주문이 존재하지 않습니다."))
    }

    pub(crate) fn all_lines(&self) -> impl Iterator<Item = (&Order, &Line)> {
        self.all
            .iter()
            .flat_map(|order| order.lines.iter().map(move |line| (order, line)))
    }

    /// The lines that came into the state within the window, all of them: there are no pages.
    pub(crate) fn list(&self, state: State, window: Window) -> Answer {
        let mut lines: Vec<_> = self
            .all_lines()
            .filter(|(_, line)| line.state == state && window.holds(line.since))
            .collect();
        lines.sort_by_key(|(_, line)| line.since);
        let rows: Vec<_> = lines
            .into_iter()
            .map(|(order, line)| order.row(line))
            .collect();
        list(&rows)
    }

    /// `orderlistall/{ordNos}`: every line of up to 100 orders, whatever its state. Numbers that are no orders are left
    /// out.
    pub(crate) fn states(&self, numbers: &str) -> Answer {
        let numbers: Vec<_> = numbers.split(',').collect();
        if numbers.len() > 100 {
            let verdict = Verdict::business("주문번호는 100개까지 조회할 수 있습니다.");
            return verdict.answer(Family::List);
        }
        let orders = numbers
            .iter()
            .filter_map(|no| self.all.get(*self.places.get(*no)?));
        let rows: Vec<_> = orders
            .flat_map(|order| order.lines.iter().map(|line| order.standing(line)))
            .collect();
        list(&rows)
    }

    /// `reqpackaging`: one line a call. What a repeat gets is not documented beyond its not being a success; here it is
    /// the business error.
    pub(crate) fn confirm(
        &mut self,
        [no, seq, additional, additional_no, delivery_no]: &[String; 5],
        now: OffsetDateTime,
    ) -> Result<Verdict, Verdict> {
        // Both are in use for a line that is no additional product.
        if additional != "N" || !["null", "0"].contains(&additional_no.as_str()) {
            return Err(Verdict::business("추가구성상품 정보가 올바르지 않습니다."));
        }
        let delivers = self
            .order_mut(no)
            .is_ok_and(|order| order.delivery_no == *delivery_no);
        let line = self.line_mut(no, seq)?;
        if !delivers {
            return Err(Verdict::business("배송번호가 올바르지 않습니다."));
        }
        if line.state != State::Complete {
            return Err(Verdict::business("발주확인 가능한 상태가 아닙니다."));
        }
        line.go(State::Packaging, now);
        Ok(Verdict::new(0, "발주확인 처리되었습니다."))
    }

    /// `reqdelivery`: ships every line of the delivery, or one of them when the call says so.
    pub(crate) fn ship(
        &mut self,
        sent_at: &str,
        delivery_no: &str,
        only: Option<(&str, &str)>,
        now: OffsetDateTime,
    ) -> Result<Verdict, Verdict> {
        if minute(sent_at).is_none() {
            return Err(Verdict::business("발송일시 형식이 올바르지 않습니다."));
        }
        let order = self
            .all
            .iter_mut()
            .find(|order| order.delivery_no == delivery_no)
            .ok_or_else(|| Verdict::business("해당 배송번호가 존재하지 않습니다."))?;
        let no = order.no.clone();
        let mut sent = 0;
        for line in &mut order.lines {
            let meant = only.is_none_or(|(order, seq)| order == no && line.seq.to_string() == seq);
            if meant && line.state == State::Packaging {
                line.go(State::Shipping, now);
                line.drop_claim(now);
                sent += 1;
            }
        }
        if sent == 0 {
            return Err(Verdict::new(-3308, "발송처리할 주문이 없습니다."));
        }
        Ok(Verdict::new(0, "발송처리 되었습니다."))
    }

    /// Somebody moves lines at the seller's office, or a courier does.
    pub(crate) fn move_lines(
        &mut self,
        no: &str,
        seq: Option<&str>,
        word: &str,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        let order = self.order_mut(no)?;
        if let Some(seq) = seq {
            order.line_mut(seq)?;
        }
        let lines = order
            .lines
            .iter_mut()
            .filter(|line| seq.is_none_or(|seq| line.seq.to_string() == seq));
        if word == "withdrawn" {
            for line in lines {
                line.withdraw_claim(now)?;
            }
        } else {
            let state = State::ALL
                .into_iter()
                .find(|state| state.word() == word && *state != State::Cancelled)
                .ok_or_else(|| {
                    Refusal::invalid(
                        "state is standby, complete, packaging, shipping, dlvcompleted, completed or withdrawn.",
                    )
                })?;
            for line in lines {
                if line.state == State::Cancelled {
                    return Err(Refusal::impossible("A cancelled line stays cancelled."));
                }
                line.go(state, now);
            }
        }
        Ok(shown(order))
    }
}

pub(crate) fn shown(order: &Order) -> Value {
    let lines: Vec<_> = order
        .lines
        .iter()
        .map(|line| {
            json!({
                "lineId": line.seq.to_string(),
                "productId": line.bought.product_no,
                "optionId": line.bought.stock_no,
                "quantity": line.ordered,
                "left": line.left,
                "state": line.state.word(),
                "since": iso(line.since),
                "claims": line.claims.iter().map(Claim::show).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "orderId": order.no,
        "deliveryId": order.delivery_no,
        "buyer": order.buyer,
        "lines": lines,
    })
}
