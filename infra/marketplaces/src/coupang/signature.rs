//! `CEA algorithm=HmacSHA256`: a signature over the date, the method, the path and the raw query.

use std::io;

use data_encoding::HEXLOWER;
use fakes::env::text;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use time::{
    Duration, OffsetDateTime, PrimitiveDateTime, format_description::StaticFormatDescription,
    macros::format_description,
};

use crate::call::Call;

/// UTC, with the century that the header leaves out.
const SIGNED_DATE: StaticFormatDescription =
    format_description!("[year][month][day]T[hour][minute][second]Z");

/// What Wing shows the seller.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The seller's id, which is in most paths.
    pub vendor_id: String,
    /// Names the key.
    pub access_key: String,
    /// Signs.
    pub secret_key: String,
}

impl Default for Credentials {
    fn default() -> Self {
        Self {
            vendor_id: "A00012345".to_owned(),
            access_key: "demo-access-key".to_owned(),
            secret_key: "demo-secret-key".to_owned(),
        }
    }
}

impl Credentials {
    /// Reads `MARKETPLACES_COUPANG_VENDOR_ID`, `MARKETPLACES_COUPANG_ACCESS_KEY` and `MARKETPLACES_COUPANG_SECRET_KEY`.
    pub(crate) fn from_env() -> io::Result<Self> {
        let default = Self::default();
        Ok(Self {
            vendor_id: text("MARKETPLACES_COUPANG_VENDOR_ID")?.unwrap_or(default.vendor_id),
            access_key: text("MARKETPLACES_COUPANG_ACCESS_KEY")?.unwrap_or(default.access_key),
            secret_key: text("MARKETPLACES_COUPANG_SECRET_KEY")?.unwrap_or(default.secret_key),
        })
    }
}

const MALFORMED: &str = "HMAC format is invalid.";
const EXPIRED: &str = "Specified signature is expired.";
const WRONG: &str = "Invalid signature.";

/// Ok when the header carries a signature of exactly this request, made within the window around now.
pub(super) fn verify(
    credentials: &Credentials,
    call: &Call,
    window: Duration,
    now: OffsetDateTime,
) -> Result<(), &'static str> {
    let header = call.header("authorization").ok_or(MALFORMED)?;
    let fields = header.strip_prefix("CEA ").ok_or(MALFORMED)?;
    let field = |name: &str| {
        fields.split(',').find_map(|field| {
            let (key, value) = field.trim().split_once('=')?;
            (key == name).then_some(value)
        })
    };
    if field("algorithm") != Some("HmacSHA256") {
        return Err(MALFORMED);
    }
    let signed_date = field("signed-date").ok_or(MALFORMED)?;
    let access_key = field("access-key").ok_or(MALFORMED)?;
    let signature = field("signature").ok_or(MALFORMED)?;
    let at = instant(signed_date).ok_or(MALFORMED)?;
    if (now - at).abs() > window {
        return Err(EXPIRED);
    }
    let expected = sign(&credentials.secret_key, signed_date, call);
    if access_key != credentials.access_key || signature != expected {
        return Err(WRONG);
    }
    Ok(())
}

/// A date of exactly the documented form; one with a year of four digits is none.
fn instant(signed_date: &str) -> Option<OffsetDateTime> {
    let is_of_form = signed_date.len() == "yyMMddTHHmmssZ".len();
    let whole = format!("20{signed_date}");
    PrimitiveDateTime::parse(&whole, SIGNED_DATE)
        .ok()
        .filter(|_| is_of_form)
        .map(PrimitiveDateTime::assume_utc)
}

fn sign(secret_key: &str, signed_date: &str, call: &Call) -> String {
    let message = format!(
        "{signed_date}{}{}{}",
        call.method.as_str(),
        call.path,
        call.query
    );
    // HMAC takes keys of any length, so there is no key it refuses.
    Hmac::<Sha256>::new_from_slice(secret_key.as_bytes())
        .map(|mut mac| {
            mac.update(message.as_bytes());
            HEXLOWER.encode(&mac.finalize().into_bytes())
        })
        .unwrap_or_default()
}
