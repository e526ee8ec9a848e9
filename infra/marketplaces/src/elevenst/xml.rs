//! 11st's documents: XML in EUC-KR, in three families that say success in three ways.

use std::borrow::Cow;

use axum::http::StatusCode;
use encoding_rs::{EUC_KR, Encoding};
use quick_xml::escape::escape;
use roxmltree::{Document, Node};

use crate::answer::Answer;

const CONTENT_TYPE: &str = "text/xml; charset=euc-kr";
const DECLARATION: &str = r#"<?xml version="1.0" encoding="euc-kr" standalone="yes"?>"#;
const NAMESPACE: &str = "http://skt.tmall.business.openapi.spring.service.client.domain/";

/// How a call answers, whether it went well or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Orders and claims that are read: `ns2:orders`, and a `result_code` only when there is nothing in it. There a 0
    /// says that nothing is there.
    List,
    /// Orders and claims that are written: `ResultOrder`, where 0 is success.
    Write,
    /// Products, stock, price and display: `ClientMessage`, where 200 is success.
    Message,
}

/// A result with its text, before it is known which family tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) code: i32,
    pub(crate) text: Cow<'static, str>,
}

impl Verdict {
    pub(crate) fn new(code: i32, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }

    /// The business error of orders and claims, which is told apart only by its text.
    pub(crate) fn business(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(-1, text)
    }

    /// The early hours of a Friday.
    pub(crate) fn maintenance() -> Self {
        Self::new(-1000, "시스템 점검 중입니다.")
    }

    /// No seller has this key. Which code says so depends on the family.
    pub(crate) fn wrong_key(family: Family) -> Self {
        let code = match family {
            Family::List | Family::Write => -1,
            Family::Message => 500,
        };
        Self::new(code, "해당 Open API KEY와 일치하는 회원이 없습니다.")
    }

    /// As the family writes it. The HTTP status is 200 whatever the code is.
    pub(crate) fn answer(&self, family: Family) -> Answer {
        match family {
            Family::List => list_without_rows(self),
            Family::Write => document(&parent(
                "ResultOrder",
                &[
                    self.field("result_code"),
                    element("result_text", &self.text),
                ],
            )),
            Family::Message => client_message("", self, &[]),
        }
    }

    fn field(&self, name: &str) -> String {
        element(name, &self.code.to_string())
    }
}

/// `ns2:orders` with its rows, each a list of fields without a prefix; without rows it says 0.
pub(crate) fn list(rows: &[Vec<(&'static str, String)>]) -> Answer {
    if rows.is_empty() {
        return list_without_rows(&Verdict::new(0, "조회된 결과가 없습니다."));
    }
    let rows: Vec<_> = rows
        .iter()
        .map(|fields| parent("ns2:order", &elements(fields)))
        .collect();
    document(&rooted("ns2:orders", &rows))
}

fn list_without_rows(verdict: &Verdict) -> Answer {
    document(&rooted(
        "ns2:orders",
        &[
            verdict.field("ns2:result_code"),
            element("ns2:result_text", &verdict.text),
        ],
    ))
}

/// `ClientMessage` about a product, or about a stock number: both stand in `productNo`.
pub(crate) fn client_message(
    product_no: &str,
    verdict: &Verdict,
    more: &[(&'static str, String)],
) -> Answer {
    let mut fields = Vec::new();
    if !product_no.is_empty() {
        fields.push(element("productNo", product_no));
    }
    fields.push(element("message", &verdict.text));
    fields.push(verdict.field("resultCode"));
    fields.extend(elements(more));
    document(&parent("ClientMessage", &fields))
}

/// A root of its own with the namespace of all reads.
pub(crate) fn rooted(name: &str, children: &[String]) -> String {
    format!(
        r#"<{name} xmlns:ns2="{NAMESPACE}">{}</{name}>"#,
        children.concat()
    )
}

pub(crate) fn parent(name: &str, children: &[String]) -> String {
    format!("<{name}>{}</{name}>", children.concat())
}

pub(crate) fn element(name: &str, text: &str) -> String {
    format!("<{name}>{}</{name}>", escape(text))
}

pub(crate) fn elements(fields: &[(&'static str, String)]) -> Vec<String> {
    fields
        .iter()
        .map(|(name, text)| element(name, text))
        .collect()
}

/// The document in the bytes that 11st sends. What EUC-KR lacks becomes a character reference.
pub(crate) fn document(root: &str) -> Answer {
    let text = format!("{DECLARATION}{root}");
    let (bytes, _, _) = EUC_KR.encode(&text);
    Answer::new(StatusCode::OK, CONTENT_TYPE, bytes.into_owned())
}

/// The text of a request body: in the encoding it declares, else in EUC-KR. 11st takes both.
pub(crate) fn decode(body: &[u8]) -> Cow<'_, str> {
    let declared = declared_encoding(body).and_then(|label| Encoding::for_label(label.as_bytes()));
    declared.unwrap_or(EUC_KR).decode(body).0
}

/// What stands in `encoding="..."` of an XML declaration, which is ASCII whatever follows it.
fn declared_encoding(body: &[u8]) -> Option<String> {
    let end = body.windows(2).position(|two| two == b"?>")?;
    let declaration = String::from_utf8_lossy(body.get(..end)?).into_owned();
    let (_, label) = declaration.split_once("encoding=")?;
    let quote = label.chars().next().filter(|c| "\"'".contains(*c))?;
    label.split(quote).nth(1).map(str::to_owned)
}

/// The first element of this name anywhere below, by its local name.
pub(crate) fn child_text(node: Node<'_, '_>, name: &str) -> Option<String> {
    node.descendants()
        .find(|node| node.is_element() && node.tag_name().name() == name)
        .and_then(|node| node.text())
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
}

/// A body as a tree, or the answer to one that is none.
pub(crate) fn read(text: &str) -> Result<Document<'_>, Verdict> {
    Document::parse(text).map_err(|error| Verdict::new(400, error.to_string()))
}
