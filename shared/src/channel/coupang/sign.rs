//! The signature of a call: an HMAC over its time, method, path and query, these two exactly as they are sent. The body is
//! not signed.

use data_encoding::HEXLOWER;
use ring::hmac;
use time::{OffsetDateTime, macros::format_description};

use crate::clock::Timestamp;

/// Signs with the pair of keys that Wing issued.
pub(super) struct Signer {
    access_key: String,
    key: hmac::Key,
}

impl Signer {
    pub(super) fn new(access_key: String, secret_key: &str) -> Self {
        Self {
            access_key,
            key: hmac::Key::new(hmac::HMAC_SHA256, secret_key.as_bytes()),
        }
    }

    /// The `Authorization` of one attempt. The query has no `?`. It is good for some minutes, so each attempt has its own.
    pub(super) fn authorization(
        &self,
        now: Timestamp,
        method: &str,
        path: &str,
        query: &str,
    ) -> String {
        let date = signed_date(now);
        let message = format!("{date}{method}{path}{query}");
        let signature = HEXLOWER.encode(hmac::sign(&self.key, message.as_bytes()).as_ref());
        format!(
            "CEA algorithm=HmacSHA256, access-key={}, signed-date={date}, signature={signature}",
            self.access_key
        )
    }
}

/// `260101T000000Z`: UTC, and two digits of the year.
fn signed_date(now: Timestamp) -> String {
    const FORMAT: &[time::format_description::BorrowedFormatItem<'_>] =
        format_description!("[year repr:last_two][month][day]T[hour][minute][second]Z");
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(now.millis()) * 1_000_000)
        .ok()
        .and_then(|moment| moment.format(FORMAT).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_over_what_is_sent() {
        let signer = Signer::new("demo-access-key".to_owned(), "demo-secret-key");
        let now = Timestamp::parse("2026-01-01T09:00:00.999+09:00").expect("a time");
        for (method, path, query, signature) in [
            (
                "GET",
                "/v2/providers/openapi/apis/api/v5/vendors/A00012345/ordersheets",
                "createdAtFrom=2026-01-01T09:00%2B09:00&createdAtTo=2026-01-01T09:10%2B09:00&searchType=timeFrame&status=ACCEPT",
                "8af04de0def41f98111dbc071a496cdba33b6a58cc470316991633da5e361ef9",
            ),
            (
                "PUT",
                "/v2/providers/seller_api/apis/api/v1/marketplace/vendor-items/3000000001/quantities/7",
                "",
                "fcda97e67814507ac87f6228e8e4d2b404318139a88713487e64711d1e7b67a4",
            ),
            (
                "PUT",
                "/v2/providers/seller_api/apis/api/v1/marketplace/vendor-items/3000000001/prices/12900",
                "forceSalePriceUpdate=false",
                "6ddf1d1b50cced1ab4505cc81fe6622c954dc6316f37a84615cffa66710d466c",
            ),
        ] {
            assert_eq!(
                signer.authorization(now, method, path, query),
                format!(
                    "CEA algorithm=HmacSHA256, access-key=demo-access-key, signed-date=260101T000000Z, signature={signature}"
                )
            );
        }
    }
}
