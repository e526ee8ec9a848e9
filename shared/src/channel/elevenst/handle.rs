//! How a line is named again: what the paths of confirming and cancelling have in them.

use super::{
    super::{CancelReason, Failure, Handle},
    call::segment,
};

/// A line, as its handle names it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Line {
    /// The order's number.
    pub(super) order_no: String,
    /// The line's number in it.
    pub(super) seq: String,
    /// The number of an add-on product, if it is one.
    pub(super) add_on: Option<String>,
    /// The delivery's number, which bundled lines share.
    pub(super) delivery_no: String,
    /// Units of it that are not cancelled.
    pub(super) left: Option<u32>,
    /// Whether it is an option of its product.
    pub(super) has_option: bool,
    /// The number of the claim that cancels it.
    pub(super) claim: Option<String>,
}

impl Line {
    /// `ordNo:ordPrdSeq:addPrdNo:dlvNo:left:option:ordPrdCnSeq`; what is not there is empty.
    pub(super) fn handle(&self) -> Handle {
        let units = self
            .left
            .map_or_else(String::new, |units| units.to_string());
        Handle(
            [
                self.order_no.as_str(),
                &self.seq,
                self.add_on.as_deref().unwrap_or_default(),
                &self.delivery_no,
                &units,
                if self.has_option { "Y" } else { "N" },
                self.claim.as_deref().unwrap_or_default(),
            ]
            .join(":"),
        )
    }

    pub(super) fn parse(handle: &Handle) -> Result<Self, Failure> {
        let parts: Vec<&str> = handle.0.split(':').collect();
        let [order_no, seq, add_on, delivery_no, left, option, claim] = parts[..] else {
            return Err(Failure::Refused("not a handle of an 11st line".to_owned()));
        };
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Ok(Self {
            order_no: order_no.to_owned(),
            seq: seq.to_owned(),
            add_on: some(add_on),
            delivery_no: delivery_no.to_owned(),
            left: left.parse().ok(),
            has_option: option == "Y",
            claim: some(claim),
        })
    }

    /// The key of a line: the same for ever.
    pub(super) fn key(&self) -> String {
        format!("{}:{}", self.order_no, self.seq)
    }

    /// A line that is no add-on says so with the word `null`.
    pub(super) fn confirm_path(&self) -> String {
        let (is_add_on, add_on) = match &self.add_on {
            Some(add_on) => ("Y", segment(add_on)),
            None => ("N", "null".to_owned()),
        };
        format!(
            "/rest/ordservices/reqpackaging/{}/{}/{is_add_on}/{add_on}/{}",
            segment(&self.order_no),
            segment(&self.seq),
            segment(&self.delivery_no)
        )
    }

    /// The text is read by people; which encoding its path may have is not said, so it is ASCII.
    pub(super) fn cancel_path(&self, reason: CancelReason) -> String {
        let code = match (reason, self.has_option) {
            // This option alone is sold out; 08 would say it of all of them.
            (CancelReason::SoldOut, true) => "09",
            (CancelReason::SoldOut, false) => "08",
        };
        format!(
            "/rest/claimservice/reqrejectorder/{}/{}/{code}/sold%20out",
            segment(&self.order_no),
            segment(&self.seq)
        )
    }

    pub(super) fn approve_path(&self) -> String {
        format!(
            "/rest/claimservice/cancelreqconf/{}/{}/{}",
            segment(self.claim.as_deref().unwrap_or_default()),
            segment(&self.order_no),
            segment(&self.seq)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line {
            order_no: "20261120000000001".into(),
            seq: "1".into(),
            delivery_no: "2600000001".into(),
            left: Some(2),
            has_option: true,
            ..Line::default()
        }
    }

    #[test]
    fn a_handle_brings_its_line_back() {
        let claimed = Line {
            claim: Some("11".into()),
            add_on: Some("77".into()),
            left: None,
            has_option: false,
            ..line()
        };
        for line in [line(), claimed] {
            assert_eq!(Line::parse(&line.handle()), Ok(line));
        }
        assert!(matches!(
            Line::parse(&Handle("of another market".into())),
            Err(Failure::Refused(_))
        ));
    }

    #[test]
    fn paths_name_the_line_the_way_each_call_wants_it() {
        assert_eq!(
            line().confirm_path(),
            "/rest/ordservices/reqpackaging/20261120000000001/1/N/null/2600000001"
        );
        let add_on = Line {
            add_on: Some("77".into()),
            ..line()
        };
        assert!(add_on.confirm_path().ends_with("/1/Y/77/2600000001"));
        assert_eq!(
            line().cancel_path(CancelReason::SoldOut),
            "/rest/claimservice/reqrejectorder/20261120000000001/1/09/sold%20out"
        );
        let plain = Line {
            has_option: false,
            claim: Some("11".into()),
            ..line()
        };
        assert!(plain.cancel_path(CancelReason::SoldOut).contains("/1/08/"));
        assert_eq!(
            plain.approve_path(),
            "/rest/claimservice/cancelreqconf/11/20261120000000001/1"
        );
        let sly = Line {
            order_no: "../1".into(),
            ..line()
        };
        assert!(sly.confirm_path().contains("/..%2F1/"));
    }
}
