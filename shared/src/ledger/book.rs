//! `book`: accepted orders enter the ledger, a whole batch at once.
//!
//! A transaction has one conditional update for each stock row and the note of it, and the puts of all orders it serves: a hot product costs
//! one hot write a batch, not one an order. When it is refused, the reasons say who was at fault: orders that are there
//! already drop out, a lost race is tried again, and if the units do not suffice the orders go one by one, so that exactly
//! those fail that do not fit.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use aws_sdk_dynamodb::types::{Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem};

use super::{
    Ledger, MAX_ACTIONS, MAX_TRIES, OrderRecord, TraceEntry,
    transact::{Refusal, Transacted, back_off},
};
use crate::{
    clock::Timestamp,
    error::Error,
    id::{BroadcastId, ProductId},
    order::{AcceptedOrder, FailureReason, OrderId},
    stock::Source,
};

/// What `book` made of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Booking {
    /// It is RESERVED now.
    Reserved(OrderRecord),
    /// It was in the ledger already, in this state.
    Existing(OrderRecord),
    /// The ledger has no units for it; it is not in the ledger.
    SoldOut,
}

impl Ledger {
    /// Enters `orders`, which differ from one another. One answer an order, in their order; an order whose outcome is not
    /// known has an error and may be entered again.
    pub async fn book(
        &self,
        orders: &[AcceptedOrder],
        now: Timestamp,
    ) -> Vec<Result<Booking, Error>> {
        let mut answers: Vec<Option<Result<Booking, Error>>> =
            orders.iter().map(|_| None).collect();
        let mut packs: VecDeque<Vec<usize>> = pack(orders).into();
        while let Some(members) = packs.pop_front() {
            match self.book_pack(orders, &members, &mut answers, now).await {
                Ok(()) => {}
                Err(Refused::DoesNotFit(rest)) if rest.len() == 1 => {
                    answers[rest[0]] = Some(Ok(Booking::SoldOut))
                }
                Err(Refused::DoesNotFit(rest)) => {
                    packs.extend(rest.into_iter().map(|order| vec![order]))
                }
                Err(Refused::Failed(rest, error)) => {
                    tracing::warn!(error = %error, orders = rest.len(), "booking failed; the queue brings the orders again");
                    for order in rest {
                        answers[order] = Some(Err(Error::Conflict));
                    }
                    if let Some(first) = members.first() {
                        answers[*first] = Some(Err(error));
                    }
                }
            }
        }
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or(Err(Error::Conflict)))
            .collect()
    }

    /// Books the members of one transaction. Orders that are there already are answered and left out.
    async fn book_pack(
        &self,
        orders: &[AcceptedOrder],
        members: &[usize],
        answers: &mut [Option<Result<Booking, Error>>],
        now: Timestamp,
    ) -> Result<(), Refused> {
        let mut members = members.to_vec();
        for attempt in 0..MAX_TRIES {
            if members.is_empty() {
                return Ok(());
            }
            let demand = demand(members.iter().map(|&member| &orders[member]));
            let actions = match self.booking_actions(orders, &members, &demand, now) {
                Ok(actions) => actions,
                Err(error) => return Err(Refused::Failed(members, error)),
            };
            let reasons = match self.transact(actions).await {
                Ok(Transacted::Done) => {
                    for member in members {
                        let record = OrderRecord::new(&orders[member], now);
                        answers[member] = Some(Ok(Booking::Reserved(record)));
                    }
                    return Ok(());
                }
                Ok(Transacted::Refused(reasons)) => reasons,
                Err(error) => return Err(Refused::Failed(members, error)),
            };

            let mut reasons = reasons.into_iter();
            let fits = reasons
                .by_ref()
                .take(ACTIONS_A_ROW * demand.len())
                .filter(|reason| matches!(reason, Refusal::Condition(_)))
                .count()
                == 0;
            let known = members.len();
            let mut rest = Vec::with_capacity(known);
            for (&member, reason) in members.iter().zip(reasons) {
                match reason {
                    Refusal::Condition(item) => {
                        answers[member] = Some(OrderRecord::from_item(item).map(Booking::Existing));
                    }
                    Refusal::None | Refusal::Busy => rest.push(member),
                }
            }
            members = rest;
            if members.len() < known {
                continue;
            }
            if !fits {
                return Err(Refused::DoesNotFit(members));
            }
            back_off(attempt).await;
        }
        Err(Refused::Failed(members, Error::Conflict))
    }

    fn booking_actions(
        &self,
        orders: &[AcceptedOrder],
        members: &[usize],
        demand: &Demand,
        now: Timestamp,
    ) -> Result<Vec<TransactWriteItem>, Error> {
        let mut actions = Vec::with_capacity(ACTIONS_A_ROW * demand.len() + members.len());
        for ((source, product), (count, buyers)) in demand {
            actions.push(self.sell(product, source, *count)?);
            let sold = i64::try_from(*count).map_err(|_| Error::Corrupt("an order".to_owned()))?;
            let entry = TraceEntry::sale(now, source, sold, "reserved", buyers.clone());
            actions.push(self.trace_action(product, &entry)?);
        }
        for &member in members {
            actions.push(self.put_once(&OrderRecord::new(&orders[member], now))?);
        }
        Ok(actions)
    }

    fn put_once(&self, record: &OrderRecord) -> Result<TransactWriteItem, Error> {
        let put = Put::builder()
            .table_name(&self.orders_table)
            .set_item(Some(record.to_item()?))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|error| Error::Corrupt(error.to_string()))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// Enters an order that never got its units as FAILED. If it is in the ledger already, that is the answer.
    ///
    /// # Errors
    /// DynamoDB did not do it, or did not say so.
    pub async fn book_failed(
        &self,
        order: &AcceptedOrder,
        reason: FailureReason,
        now: Timestamp,
    ) -> Result<OrderRecord, Error> {
        let record = OrderRecord::new(order, now).failed(reason, now);
        for attempt in 0..MAX_TRIES {
            match self.transact(vec![self.put_once(&record)?]).await? {
                Transacted::Done => return Ok(record),
                Transacted::Refused(reasons) => match reasons.into_iter().next() {
                    Some(Refusal::Condition(item)) => return OrderRecord::from_item(item),
                    Some(Refusal::Busy | Refusal::None) | None => back_off(attempt).await,
                },
            }
        }
        Err(Error::Conflict)
    }
}

enum Refused {
    DoesNotFit(Vec<usize>),
    Failed(Vec<usize>, Error),
}

/// Units wanted of every stock row, and for which orders.
type Demand = BTreeMap<(Source, ProductId), (u64, Vec<OrderId>)>;

fn demand<'a>(orders: impl Iterator<Item = &'a AcceptedOrder>) -> Demand {
    let mut demand = Demand::new();
    for order in orders {
        let source = Source::Live(order.order_id.broadcast());
        for line in &order.lines {
            let (count, buyers) = demand
                .entry((source.clone(), line.product_id.clone()))
                .or_default();
            *count += u64::from(line.quantity);
            buyers.push(order.order_id.clone());
        }
    }
    demand
}

/// A row takes an update, and a note of it.
const ACTIONS_A_ROW: usize = 2;

/// Splits orders into transactions: as many as fit, counting one action for every order and two for every row they want.
fn pack(orders: &[AcceptedOrder]) -> Vec<Vec<usize>> {
    let mut packs = Vec::new();
    let mut members = Vec::new();
    let mut rows = BTreeSet::new();
    for (index, order) in orders.iter().enumerate() {
        let wanted: BTreeSet<(BroadcastId, &ProductId)> = order
            .lines
            .iter()
            .map(|line| (order.order_id.broadcast(), &line.product_id))
            .collect();
        let mut with: BTreeSet<_> = rows.union(&wanted).cloned().collect();
        if members.len() + 1 + ACTIONS_A_ROW * with.len() > MAX_ACTIONS {
            packs.push(std::mem::take(&mut members));
            with = wanted;
        }
        rows = with;
        members.push(index);
    }
    if !members.is_empty() {
        packs.push(members);
    }
    packs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::{Line, PaymentMethod};

    fn order(number: usize, products: &[&str]) -> AcceptedOrder {
        let user = format!("u{number}").parse().expect("an id");
        AcceptedOrder {
            order_id: OrderId::derive(&"b1".parse().expect("an id"), &user, "k"),
            user_id: user,
            lines: products
                .iter()
                .map(|product| Line {
                    product_id: product.parse().expect("an id"),
                    quantity: 1,
                    unit_price: 1,
                })
                .collect(),
            payment: PaymentMethod::BillingKey {
                billing_key: "bk".into(),
                customer_key: "ck".into(),
            },
            accepted_at: Timestamp::from_millis(0),
            deadline: Timestamp::from_millis(0),
        }
    }

    #[test]
    fn one_hot_product_takes_98_orders_a_transaction() {
        let orders: Vec<_> = (0..200).map(|number| order(number, &["p"])).collect();
        let sizes: Vec<usize> = pack(&orders).iter().map(Vec::len).collect();
        assert_eq!(sizes, [98, 98, 4]);
    }

    #[test]
    fn no_transaction_has_more_actions_than_dynamodb_takes() {
        let orders: Vec<_> = (0..300)
            .map(|number| {
                order(
                    number,
                    &[&format!("p{}", number % 70), &format!("q{number}")],
                )
            })
            .collect();
        let packs = pack(&orders);
        assert_eq!(
            packs.iter().flatten().copied().collect::<Vec<_>>(),
            (0..300).collect::<Vec<_>>()
        );
        for members in packs {
            let rows = demand(members.iter().map(|&member| &orders[member])).len();
            assert!(ACTIONS_A_ROW * rows + members.len() <= MAX_ACTIONS);
        }
    }
}
