//! Money and stock together: paying later, late and twice, taking orders back, webhooks, dead letters. Over a real Redis, a
//! DynamoDB emulator and the payment sandbox, whose own books say what was charged and given back.

mod cancel;
mod hints;
mod late;
mod pay;
mod refund;
mod till;
mod time;
