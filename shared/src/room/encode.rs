//! Frames as they are posted: encoded once for all who get the same.

use super::LoggedEvent;
use crate::aws::Payload;

/// The largest frame, in bytes. API Gateway: 128 KB a message.
const MAX_FRAME: usize = 128 * 1_000;
/// The most that a frame has beside its events.
const WRAPPING: usize = 64;

/// One message to a viewer.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// The sequence number the viewer has with it.
    pub(super) seq: u64,
    /// Itself.
    pub(super) payload: Payload,
}

/// The events after `after` up to `until` that are for everyone or for `user`, in as few frames as they fit into; none if there
/// are none. In each frame what viewers wait for goes first. The same range makes the same frames, whenever it is asked for.
pub(super) fn frames(
    log: &[LoggedEvent],
    (after, until): (u64, u64),
    user: Option<&str>,
) -> Vec<Frame> {
    let begin = log.partition_point(|event| event.seq <= after);
    let end = log.partition_point(|event| event.seq <= until);
    let theirs = log[begin..end]
        .iter()
        .filter(|event| event.to.is_none() || event.to.as_deref() == user);
    let (mut frames, mut part, mut bytes) = (Vec::new(), Vec::new(), WRAPPING);
    for event in theirs {
        if bytes + event.json.len() + 1 > MAX_FRAME && !part.is_empty() {
            frames.push(std::mem::take(&mut part));
            bytes = WRAPPING;
        }
        bytes += event.json.len() + 1;
        part.push(event);
    }
    if !part.is_empty() {
        frames.push(part);
    }
    let last = frames.len().saturating_sub(1);
    frames
        .into_iter()
        .enumerate()
        .map(|(place, part)| {
            let seq = match part.last() {
                Some(event) if place < last => event.seq,
                _ => until,
            };
            Frame {
                seq,
                payload: text(seq, part.into_iter()).into(),
            }
        })
        .collect()
}

/// The text of a frame.
pub(super) fn text<'a>(seq: u64, events: impl Iterator<Item = &'a LoggedEvent>) -> String {
    let (urgent, others): (Vec<_>, Vec<_>) = events.partition(|event| event.is_urgent());
    let mut frame = format!(r#"{{"type":"frame","seq":{seq},"events":["#);
    for (place, event) in urgent.into_iter().chain(others).enumerate() {
        if place > 0 {
            frame.push(',');
        }
        frame.push_str(&event.json);
    }
    frame.push_str("]}");
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64, to: Option<&str>, json: &str) -> LoggedEvent {
        LoggedEvent {
            seq,
            to: to.map(str::to_owned),
            json: json.to_owned(),
        }
    }

    fn texts(frames: &[Frame]) -> Vec<(u64, String)> {
        let text = |frame: &Frame| String::from_utf8_lossy(frame.payload.as_ref()).into_owned();
        frames
            .iter()
            .map(|frame| (frame.seq, text(frame)))
            .collect()
    }

    #[test]
    fn a_frame_has_what_is_new_and_meant_for_its_viewer() {
        let log = [
            event(1, None, r#"{"n":1}"#),
            event(2, Some("u1"), r#"{"n":2}"#),
            event(3, None, r#"{"n":3}"#),
        ];
        let all = texts(&frames(&log, (0, 3), None));
        let one = r#"{"type":"frame","seq":3,"events":[{"n":1},{"n":3}]}"#;
        assert_eq!(all, [(3, one.to_owned())]);
        let theirs = texts(&frames(&log, (1, 3), Some("u1")));
        let one = r#"{"type":"frame","seq":3,"events":[{"n":2},{"n":3}]}"#;
        assert_eq!(theirs, [(3, one.to_owned())]);
        assert!(frames(&log, (3, 3), None).is_empty());
        assert!(frames(&log[1..2], (0, 3), None).is_empty());
    }

    #[test]
    fn what_viewers_wait_for_goes_first() {
        let log = [
            event(1, None, r#"{"type":"chat"}"#),
            event(2, None, r#"{"type":"product_closed"}"#),
            event(3, None, r#"{"type":"chat"}"#),
            event(4, Some("u1"), r#"{"type":"order_result"}"#),
            event(5, None, r#"{"type":"inventory_update"}"#),
            event(6, None, r#"{"type":"product_spotlight"}"#),
        ];
        let frame = &texts(&frames(&log, (0, 6), Some("u1")))[0].1;
        let in_order = [
            "product_closed",
            "order_result",
            "product_spotlight",
            "chat",
            "inventory_update",
        ];
        let places = in_order.map(|kind| frame.find(kind).expect("is in it"));
        assert!(places.is_sorted(), "{frame}");
    }

    #[test]
    fn what_does_not_fit_into_one_frame_comes_in_several_that_can_be_resumed_from() {
        let long = format!(r#"{{"type":"chat","message":"{}"}}"#, "x".repeat(1_000));
        let log: Vec<_> = (1..=300).map(|seq| event(seq, None, &long)).collect();
        let parts = frames(&log, (0, 310), None);
        assert!(parts.len() > 2);
        assert!(
            parts
                .iter()
                .all(|part| part.payload.as_ref().len() <= MAX_FRAME)
        );
        assert_eq!(parts.last().map(|part| part.seq), Some(310));
        // Whoever got the first part only gets the rest as the very same frames.
        let rest = frames(&log, (parts[0].seq, 310), None);
        assert_eq!(texts(&rest), texts(&parts[1..]));
    }
}
