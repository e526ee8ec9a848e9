//! What 11st answers: bytes in EUC-KR, XML in three families, and `0` that means something else in each.
//!
//! - Lists: a root `orders` of `order` rows; without rows, a `result_code`, of which 0 is "no rows".
//! - What is done to orders: a `result_code`, of which 0 is success. Its root has had several names, so it is not looked at.
//! - Products, stock, prices: a `ClientMessage` with a `resultCode`, of which 200 is success.
//!
//! A wrong key, and maintenance, come in any of them, with HTTP status 200.

use std::time::Duration;

use encoding_rs::{EUC_KR, Encoding, UTF_8};
use roxmltree::{Document, Node};

use super::super::{Failure, call::Effect};

/// Nights of maintenance last hours; nobody needs to ask more often.
const MAINTENANCE_PAUSE: Duration = Duration::from_secs(600);
/// What is kept of a text that explains a refusal.
const MAX_TEXT_CHARS: usize = 200;
/// Where the document says its encoding, if it does.
const DECLARATION_BYTES: usize = 100;

/// What an order or a product said to a write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Done.
    Done,
    /// Not done, with its code and text.
    Refused(String),
}

impl Outcome {
    pub(super) fn or_refused(self) -> Result<(), Failure> {
        match self {
            Self::Done => Ok(()),
            Self::Refused(code) => Err(Failure::Refused(code)),
        }
    }
}

/// A row of a list, as text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Its fields; none if it cannot be read at all.
    fields: Vec<(String, String)>,
    /// The row as it came.
    pub(super) raw: String,
}

impl Row {
    /// A field, if it is there and has a value. The word `null` is none.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty() && *value != "null")
    }

    /// A field as a whole number.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    pub(super) fn is_readable(&self) -> bool {
        !self.fields.is_empty()
    }
}

/// A stock number of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stock {
    pub(super) stock_no: String,
    pub(super) units: u64,
    /// What it costs more than its product; less, if negative.
    pub(super) surcharge: i64,
    /// In use, be it sold out.
    pub(super) is_in_use: bool,
    weight: String,
}

impl Stock {
    /// The body of a write: all four fields are required, and the weight has to be the one that is there.
    pub(super) fn write_body(&self, product: &str, units: u64) -> Result<String, Failure> {
        if ![product, &self.stock_no].iter().all(|no| is_digits(no)) {
            return Err(Failure::Refused("not numbers of 11st".to_owned()));
        }
        Ok(format!(
            "<?xml version=\"1.0\" encoding=\"euc-kr\"?><ProductStock><prdNo>{product}</prdNo>\
             <prdStckNo>{}</prdStckNo><stckQty>{units}</stckQty><optWght>{}</optWght></ProductStock>",
            self.stock_no, self.weight
        ))
    }
}

/// What a product costs, in won, without the surcharges of its stock numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) price: u64,
    /// After the instant discount that the seller gives.
    pub(super) discounted: u64,
}

/// The text of an answer. The HTTP header's charset is not asked: it has been wrong. What the decoder calls EUC-KR is its
/// superset CP949. Control characters that XML does not have, and that buyers' notes do, become blanks.
pub(super) fn decode(body: &[u8]) -> String {
    let (text, _) = encoding(body).decode_without_bom_handling(body);
    text.trim_start_matches('\u{feff}').replace(
        |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r'),
        " ",
    )
}

fn encoding(body: &[u8]) -> &'static Encoding {
    let head = &body[..body.len().min(DECLARATION_BYTES)];
    let declaration = String::from_utf8_lossy(head).to_ascii_lowercase();
    let declaration = declaration.split("?>").next().unwrap_or_default();
    if declaration.contains("utf-8") {
        UTF_8
    } else {
        EUC_KR
    }
}

/// Reads a list.
pub(super) fn rows(text: &str) -> Result<Vec<Row>, Failure> {
    let Ok(document) = Document::parse(text) else {
        return rows_one_by_one(text);
    };
    let rows: Vec<Row> = document
        .root_element()
        .children()
        .filter(|node| is_named(node, &["order"]))
        .map(|node| row(&node, text[node.range()].to_owned()))
        .collect();
    if !rows.is_empty() {
        return Ok(rows);
    }
    match verdict(&document) {
        Some((code, said)) if code != "0" => Err(refused_read(&code, &said)),
        Some(_) => Ok(rows),
        // No rows and no code: a list has one or the other.
        None if is_named(&document.root_element(), &["orders"]) => Ok(rows),
        None => Err(not_ours(Effect::Read, text)),
    }
}

/// Reads what is left of a list that is not well-formed, which one row is enough for. A list without its end was cut off, and
/// is no list.
fn rows_one_by_one(text: &str) -> Result<Vec<Row>, Failure> {
    const ROW: (&str, &str) = ("<ns2:order>", "</ns2:order>");
    if !text.trim_end().ends_with("</ns2:orders>") {
        return Err(not_ours(Effect::Read, text));
    }
    let rows = text.split(ROW.0).skip(1).map(|piece| {
        let end = piece.find(ROW.1).unwrap_or(piece.len());
        let inside = &piece[..end];
        let alone = format!("<order>{inside}</order>");
        let raw = format!("{}{inside}{}", ROW.0, ROW.1);
        match Document::parse(&alone) {
            Ok(document) => row(&document.root_element(), raw),
            Err(_) => Row {
                fields: Vec::new(),
                raw,
            },
        }
    });
    Ok(rows.collect())
}

fn row(node: &Node<'_, '_>, raw: String) -> Row {
    let fields = node
        .children()
        .filter(Node::is_element)
        .map(|field| (field.tag_name().name().to_owned(), value(&field)))
        .collect();
    Row { fields, raw }
}

/// Reads what an order said to a write.
pub(super) fn order_outcome(text: &str) -> Result<Outcome, Failure> {
    outcome(text, &["0", "00"])
}

/// Reads what a product said to a write.
pub(super) fn product_outcome(text: &str) -> Result<Outcome, Failure> {
    outcome(text, &["200"])
}

fn outcome(text: &str, success: &[&str]) -> Result<Outcome, Failure> {
    let answer = Document::parse(text)
        .ok()
        .and_then(|document| verdict(&document));
    let (code, said) = answer.ok_or_else(|| not_ours(Effect::Write, text))?;
    if success.contains(&code.as_str()) {
        return Ok(Outcome::Done);
    }
    match everywhere(&code, &said) {
        Some(failure) => Err(failure),
        None => Ok(Outcome::Refused(format!("{code} {said}"))),
    }
}

/// Reads the stock numbers of a product.
pub(super) fn stocks(text: &str) -> Result<Vec<Stock>, Failure> {
    let document = Document::parse(text).map_err(|_| not_ours(Effect::Read, text))?;
    let stocks: Vec<Option<Stock>> = document
        .root_element()
        .children()
        .filter(|node| is_named(node, &["ProductStock"]))
        .map(|node| stock(&row(&node, String::new())))
        .collect();
    if stocks.is_empty() {
        let is_stocks = is_named(&document.root_element(), &["ProductStocks"]);
        return Err(match verdict(&document) {
            Some((code, said)) => everywhere(&code, &said)
                .unwrap_or_else(|| Failure::Refused(format!("no stock: {code} {said}"))),
            None if is_stocks => Failure::Refused("it has no stock numbers".to_owned()),
            // What a gateway says in its place may be well-formed, too.
            None => not_ours(Effect::Read, text),
        });
    }
    stocks
        .into_iter()
        .collect::<Option<Vec<Stock>>>()
        .ok_or_else(|| Failure::Refused("a stock number that cannot be read".to_owned()))
}

fn stock(row: &Row) -> Option<Stock> {
    Some(Stock {
        stock_no: row.text("prdStckNo")?.to_owned(),
        units: row.number("stckQty")?,
        surcharge: match row.text("addPrc") {
            Some(text) => text.parse().ok()?,
            None => 0,
        },
        // 01 in use, 02 sold out; others have left sale.
        is_in_use: matches!(row.text("prdStckStatCd"), Some("01" | "02") | None),
        weight: row
            .text("optWght")
            .filter(|text| text.chars().all(|c| c.is_ascii_digit() || c == '.'))
            .unwrap_or("0")
            .to_owned(),
    })
}

/// Reads what a product costs on a day, such as `2026-11-20`: an instant discount may have a last one.
pub(super) fn tag(text: &str, today: &str) -> Result<Tag, Failure> {
    let document = Document::parse(text).map_err(|_| not_ours(Effect::Read, text))?;
    let root = document.root_element();
    let product = row(&root, String::new());
    let Some(price) = product.number("selPrc") else {
        return Err(match verdict(&document) {
            Some((code, said)) => everywhere(&code, &said)
                .unwrap_or_else(|| Failure::Refused(format!("no price: {code} {said}"))),
            None if is_named(&root, &["Product", "Products"]) => {
                Failure::Refused("it has no price".to_owned())
            }
            None => not_ours(Effect::Read, text),
        });
    };
    let digits = |day: &str| -> String { day.chars().filter(char::is_ascii_digit).collect() };
    let last_day = product
        .text("cupnIssEndDy")
        .filter(|_| product.text("cupnUseLmtDyYn") == Some("Y"));
    let is_over = last_day.is_some_and(|day| digits(day) < digits(today));
    let value = if product.text("cuponcheck") == Some("N") || is_over {
        0
    } else {
        product.number("dscAmtPercnt").unwrap_or(0)
    };
    // 01 won, 02 percent. How a part of a won is rounded is not known: a floor is kept either way.
    let discount = match product.text("cupnDscMthdCd") {
        Some("02") => price.saturating_mul(value).div_ceil(100),
        Some(_) | None => value,
    };
    Ok(Tag {
        price,
        discounted: price.saturating_sub(discount),
    })
}

/// What a refused list means: a request that is wrong by its form is never repeated; everything else may pass.
fn refused_read(code: &str, said: &str) -> Failure {
    let is_form = matches!(code, "-3303" | "-3304" | "-3305") || code.starts_with("-2800");
    everywhere(code, said).unwrap_or_else(|| {
        let reason = format!("{code} {said}");
        if is_form {
            Failure::Refused(reason)
        } else {
            Failure::Later {
                reason,
                after: None,
            }
        }
    })
}

/// What means the same in all families.
fn everywhere(code: &str, said: &str) -> Option<Failure> {
    if code == "-1000" {
        return Some(Failure::Later {
            reason: "maintenance".to_owned(),
            after: Some(MAINTENANCE_PAUSE),
        });
    }
    // "No user matches the Open API key", in Korean around these words.
    let said_tight: String = said
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_uppercase)
        .collect();
    let is_of_the_key = matches!(code, "-1" | "500")
        && ["APIKEY", "API키", "API인증키"]
            .iter()
            .any(|words| said_tight.contains(words));
    is_of_the_key.then(|| Failure::Credentials(format!("{code} {said}")))
}

/// The code and the text, in whichever family's names.
fn verdict(document: &Document<'_>) -> Option<(String, String)> {
    let find = |names: &[&str]| document.descendants().find(|node| is_named(node, names));
    let code = find(&["result_code", "resultCode"])?;
    let said = find(&["result_text", "resultText", "message"]).map(|node| value(&node));
    let said = said.unwrap_or_default();
    Some((value(&code), said.chars().take(MAX_TEXT_CHARS).collect()))
}

fn not_ours(effect: Effect, text: &str) -> Failure {
    effect.unreadable("not an answer that can be read", text)
}

fn is_named(node: &Node<'_, '_>, names: &[&str]) -> bool {
    node.is_element() && names.contains(&node.tag_name().name())
}

/// All text of an element: of CDATA, too, and of what markup may stand in it.
fn value(node: &Node<'_, '_>) -> String {
    let text: String = node
        .descendants()
        .filter(Node::is_text)
        .filter_map(|text| text.text())
        .collect();
    text.trim().to_owned()
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: &[u8] = include_bytes!("fixtures/complete.xml");
    const EMPTY: &[u8] = include_bytes!("fixtures/empty.xml");
    const BROKEN: &[u8] = include_bytes!("fixtures/broken.xml");
    const STOCKS: &[u8] = include_bytes!("fixtures/stocks.xml");

    #[test]
    fn bytes_are_read_as_euc_kr_whatever_anyone_says() {
        assert_eq!(
            decode(b"\xc1\xb6\xc8\xb8\xb5\xc8 \xb0\xe1\xb0\xfa\xb0\xa1 \xbe\xf8\xbd\xc0\xb4\xcf\xb4\xd9."),
            "조회된 결과가 없습니다."
        );
        assert_eq!(decode(b"\xc7\xb0\xc0\xfd"), "품절");
        // Not in EUC-KR, but in CP949.
        assert_eq!(decode(b"\x8c\x63"), "똠");
        let utf_8 = "<?xml version='1.0' encoding='UTF-8'?><a>품절</a>";
        assert!(decode(utf_8.as_bytes()).contains("품절"));
        assert_eq!(decode(b"a\x08b\nc"), "a b\nc");
    }

    #[test]
    fn a_list_is_rows_and_null_is_no_value() {
        let rows = rows(&decode(COMPLETE)).expect("a list");
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].text("ordNo"), Some("20261120000000001"));
        assert_eq!(rows[0].text("prdNm"), Some("머그컵 (흰색)"));
        assert_eq!(rows[0].text("plcodrCnfDt"), None);
        assert_eq!(rows[0].number("ordQty"), Some(2));
        assert!(rows[0].raw.starts_with("<ns2:order>") && rows[0].raw.ends_with("</ns2:order>"));
    }

    #[test]
    fn nothing_found_is_an_empty_list() {
        assert_eq!(rows(&decode(EMPTY)), Ok(Vec::new()));
    }

    #[test]
    fn one_broken_row_leaves_the_others() {
        let rows = rows(&decode(BROKEN)).expect("a list");
        let readable: Vec<bool> = rows.iter().map(Row::is_readable).collect();
        assert_eq!(readable, [true, false, true]);
        assert_eq!(rows[2].text("ordNo"), Some("20261120000000003"));
        assert!(rows[1].raw.contains("20261120000000002"));
    }

    #[test]
    fn a_list_that_was_cut_off_is_none() {
        let whole = decode(COMPLETE);
        for text in [
            &whole[..whole.len() - 20],
            "",
            "<html>down</html>",
            "502 Bad",
        ] {
            assert!(
                matches!(rows(text), Err(Failure::Unreadable { .. })),
                "{text} was taken"
            );
        }
    }

    fn list(code: &str, text: &str) -> String {
        format!(
            "<ns2:orders xmlns:ns2=\"http://skt.tmall.business.openapi.spring.service.client.domain/\">\
             <ns2:result_code>{code}</ns2:result_code><ns2:result_text>{text}</ns2:result_text></ns2:orders>"
        )
    }

    fn order_answer(code: &str, text: &str) -> String {
        format!(
            "<ResultOrder><result_code>{code}</result_code><result_text>{text}</result_text></ResultOrder>"
        )
    }

    fn client_message(code: &str, text: &str) -> String {
        format!(
            "<ClientMessage><productNo>44000000001</productNo><message>{text}</message>\
             <resultCode>{code}</resultCode></ClientMessage>"
        )
    }

    #[test]
    fn zero_is_nothing_for_a_list_and_success_for_an_order_and_neither_for_a_product() {
        assert_eq!(rows(&list("0", "none")), Ok(Vec::new()));
        for code in ["0", "00"] {
            assert_eq!(order_outcome(&order_answer(code, "ok")), Ok(Outcome::Done));
        }
        assert_eq!(
            product_outcome(&client_message("0", "odd")),
            Ok(Outcome::Refused("0 odd".into()))
        );
        assert_eq!(
            product_outcome(&client_message("200", "ok")),
            Ok(Outcome::Done)
        );
        assert_eq!(
            order_outcome("<result><result_code>0</result_code></result>"),
            Ok(Outcome::Done)
        );
    }

    #[test]
    fn a_wrong_key_is_told_from_other_refusals() {
        let said = "해당 Open API KEY에 해당하는 회원이 존재하지 않습니다.";
        assert!(matches!(
            rows(&list("-1", said)),
            Err(Failure::Credentials(_))
        ));
        assert!(matches!(
            order_outcome(&order_answer("-1", said)),
            Err(Failure::Credentials(_))
        ));
        for text in [client_message("500", said), list("-1", said)] {
            assert!(matches!(stocks(&text), Err(Failure::Credentials(_))));
            assert!(matches!(
                product_outcome(&text),
                Err(Failure::Credentials(_))
            ));
        }
        let other = "판매중인 상품이 아닙니다.";
        assert!(matches!(
            rows(&list("-1", other)),
            Err(Failure::Later { .. })
        ));
        assert_eq!(
            order_outcome(&order_answer("-1", other)),
            Ok(Outcome::Refused(format!("-1 {other}")))
        );
        assert_eq!(
            product_outcome(&client_message("500", other)),
            Ok(Outcome::Refused(format!("500 {other}")))
        );
    }

    #[test]
    fn maintenance_is_later_in_all_families() {
        let later = Failure::Later {
            reason: "maintenance".into(),
            after: Some(MAINTENANCE_PAUSE),
        };
        assert_eq!(rows(&list("-1000", "")), Err(later.clone()));
        assert_eq!(
            order_outcome(&order_answer("-1000", "")),
            Err(later.clone())
        );
        assert_eq!(
            product_outcome(&client_message("-1000", "")),
            Err(later.clone())
        );
        assert_eq!(stocks(&client_message("-1000", "")), Err(later));
        let page = "<html><body><h1>502 Bad Gateway</h1></body></html>";
        assert_eq!(
            stocks(page),
            Err(not_ours(Effect::Read, page)),
            "no word of 11st's"
        );
    }

    #[test]
    fn a_list_that_we_asked_for_wrongly_is_not_asked_for_again() {
        for code in ["-3303", "-3305", "-28001"] {
            assert!(
                matches!(rows(&list(code, "")), Err(Failure::Refused(_))),
                "{code}"
            );
        }
    }

    #[test]
    fn a_write_whose_answer_cannot_be_read_has_no_known_outcome() {
        for text in ["", "<html><body>busy</body></html>", "<result><result_co"] {
            assert!(
                matches!(order_outcome(text), Err(Failure::Unknown(_))),
                "{text}"
            );
            assert!(
                matches!(product_outcome(text), Err(Failure::Unknown(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn a_price_is_read_with_the_discount_that_its_seller_gives() {
        let of = |fields: &str| {
            let product = "<prdNo>9100000001</prdNo><selPrc>12950</selPrc><htmlDetail><![CDATA[<p>]]></htmlDetail>";
            tag(
                &format!("<Product>{product}{fields}</Product>"),
                "2026-11-20",
            )
            .expect("a price")
        };
        let (won, percent) = (
            "<dscAmtPercnt>950</dscAmtPercnt><cupnDscMthdCd>01</cupnDscMthdCd>",
            "<dscAmtPercnt>7</dscAmtPercnt><cupnDscMthdCd>02</cupnDscMthdCd>",
        );
        for (fields, discounted) in [
            ("", 12_950),
            (won, 12_000),
            (percent, 12_043),
            (&format!("<cuponcheck>N</cuponcheck>{won}"), 12_950),
            (&until("2026/11/19", won), 12_950),
            (&until("2026/11/20", won), 12_000),
            ("<dscAmtPercnt>null</dscAmtPercnt>", 12_950),
        ] {
            let price = 12_950;
            assert_eq!(of(fields), Tag { price, discounted }, "{fields}");
        }
    }

    fn until(day: &str, discount: &str) -> String {
        format!("{discount}<cupnUseLmtDyYn>Y</cupnUseLmtDyYn><cupnIssEndDy>{day}</cupnIssEndDy>")
    }

    #[test]
    fn a_product_without_a_price_is_told_from_an_answer_that_is_none() {
        let refused = [
            "<ClientMessage><resultCode>404</resultCode><message>no</message></ClientMessage>",
            "<Products><message>no</message></Products>",
            "<Product><selPrc>many</selPrc></Product>",
        ];
        for text in refused {
            let failure = tag(text, "2026-11-20");
            assert!(matches!(failure, Err(Failure::Refused(_))), "{failure:?}");
        }
        for text in ["", "<html><body>busy</body></html>"] {
            let failure = tag(text, "2026-11-20");
            let is_unreadable = matches!(failure, Err(Failure::Unreadable { .. }));
            assert!(is_unreadable, "{failure:?}");
        }
    }

    #[test]
    fn stock_is_read_and_written_back_with_its_own_weight() {
        let stocks = stocks(&decode(STOCKS)).expect("stocks");
        assert_eq!(stocks.len(), 2);
        assert_eq!((stocks[0].units, stocks[0].surcharge), (7, 0));
        assert_eq!((stocks[1].units, stocks[1].surcharge), (0, -500));
        assert!(stocks[1].is_in_use, "sold out is not off sale");
        assert_eq!(
            stocks[0].write_body("9100000001", 3).expect("a body"),
            "<?xml version=\"1.0\" encoding=\"euc-kr\"?><ProductStock><prdNo>9100000001</prdNo>\
             <prdStckNo>44000000001</prdStckNo><stckQty>3</stckQty><optWght>1200</optWght></ProductStock>"
        );
        assert!(stocks[0].write_body("9<1", 3).is_err());
    }
}
