//! A viewer's screen: it takes a frame only if that goes beyond what it has, and knows what it should have seen by then.

use serde::Deserialize;

use crate::Result;

/// What a frame shows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Its sequence number.
    pub seq: u64,
    /// The numbers of its chats.
    pub chats: Vec<u64>,
    /// The units left after it, if it says so.
    pub left: Option<u64>,
    /// Whether the screen begins anew with it.
    pub anew: bool,
}

#[derive(Deserialize)]
struct Text {
    seq: u64,
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    message: String,
    remaining: Option<u64>,
    #[serde(default)]
    recent_chat: Vec<Chat>,
    #[serde(default)]
    products: Vec<Product>,
}

#[derive(Deserialize)]
struct Chat {
    message: String,
}

#[derive(Deserialize)]
struct Product {
    remaining: u64,
}

impl Frame {
    /// Reads one.
    pub fn read(text: &[u8]) -> Result<Self> {
        let malformed = |error| {
            let text = String::from_utf8_lossy(text);
            format!("a viewer got {text}: {error}")
        };
        let text: Text = serde_json::from_slice(text).map_err(malformed)?;
        let mut frame = Self {
            seq: text.seq,
            ..Self::default()
        };
        for event in text.events {
            match event.kind.as_str() {
                "chat" => frame.chats.push(number(&event.message)?),
                "inventory_update" => frame.left = event.remaining,
                "init" => {
                    frame.anew = true;
                    frame.left = event.products.first().map(|product| product.remaining);
                    for chat in event.recent_chat {
                        frame.chats.push(number(&chat.message)?);
                    }
                }
                _ => {}
            }
        }
        Ok(frame)
    }
}

/// Each chat of the crowd begins with its number.
fn number(message: &str) -> Result<u64> {
    let number = message.split(' ').next().unwrap_or_default();
    Ok(number
        .parse()
        .map_err(|_| format!("a chat says {message:?}, which nobody said"))?)
}

/// What a viewer has seen.
#[derive(Debug, Default)]
pub struct Screen {
    /// Of the last frame.
    pub seq: u64,
    /// The chat that should come next.
    pub next_chat: u64,
    /// Units that are gone.
    pub taken: u64,
    /// Chats that never came.
    pub missed: u64,
    /// Chats that came again.
    pub twice: u64,
}

impl Screen {
    /// Shows a frame, if it is newer than what is there; tells whether it was.
    pub fn show(&mut self, frame: &Frame, units: u64) -> bool {
        if frame.seq <= self.seq {
            return false;
        }
        self.seq = frame.seq;
        for chat in &frame.chats {
            if *chat >= self.next_chat {
                self.missed += chat - self.next_chat;
                self.next_chat = chat + 1;
            } else if !frame.anew {
                // A screen that begins anew is shown what it had, too.
                self.twice += 1;
            }
        }
        if let Some(left) = frame.left {
            self.taken = units.saturating_sub(left);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &str) -> Frame {
        Frame::read(text.as_bytes()).expect("is a frame")
    }

    #[test]
    fn what_is_missed_or_comes_again_is_counted_and_an_older_frame_is_not_shown() {
        let mut screen = Screen::default();
        let first = frame(
            r#"{"type":"frame","seq":12,"events":[{"type":"chat","message":"0 a"},{"type":"chat","message":"1 b"},
            {"type":"inventory_update","remaining":7,"version":9},{"type":"like_count","count":3}]}"#,
        );
        assert_eq!(
            (first.chats.as_slice(), first.left),
            ([0, 1].as_slice(), Some(7))
        );
        assert!(screen.show(&first, 10));
        assert!(!screen.show(&first, 10));
        assert_eq!((screen.next_chat, screen.taken), (2, 3));
        let later = frame(
            r#"{"type":"frame","seq":15,"events":[{"type":"chat","message":"1 b"},{"type":"chat","message":"4 e"}]}"#,
        );
        assert!(screen.show(&later, 10));
        assert_eq!((screen.missed, screen.twice, screen.next_chat), (2, 1, 5));
    }

    #[test]
    fn a_screen_may_begin_anew_with_what_it_had() {
        let mut screen = Screen {
            next_chat: 5,
            ..Screen::default()
        };
        let init = frame(
            r#"{"type":"frame","seq":20,"events":[{"type":"init","recent_chat":[{"message":"4 e"},{"message":"5 f"}],
            "products":[{"remaining":6}]}]}"#,
        );
        assert!(init.anew && screen.show(&init, 10));
        assert_eq!((screen.missed, screen.twice, screen.taken), (0, 0, 4));
    }
}
