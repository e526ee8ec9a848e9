//! The words of the gateway's two sides, as cheap to read and write as can be: HTTP requests to `@connections`, the upgrade
//! of a viewer, and WebSocket frames.

use crate::Result;

/// A close frame with the status "going away".
pub const CLOSE: &[u8] = &[0x88, 2, 0x03, 0xe9];
/// The longest head and the longest message. API Gateway takes 128 KiB in a message, and 32 in a frame of a client.
const MAX_HEAD: usize = 16 * 1024;
const MAX_MESSAGE: usize = 128 * 1024;

/// What the gateway is asked.
pub enum Request<'a> {
    /// A viewer wants a WebSocket.
    Upgrade {
        key: String,
        token: String,
        broadcast: String,
    },
    /// A message for a connection.
    Post { id: &'a str, message: &'a [u8] },
    /// A connection shall end.
    Delete { id: &'a str },
    /// Anything else.
    Other,
}

/// What a viewer sends.
pub enum Message {
    Text(String),
    Close,
}

/// The first request in `bytes` and what comes after it, once it is whole.
pub fn request(bytes: &[u8]) -> Result<Option<(Request<'_>, &[u8])>> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        if bytes.len() > MAX_HEAD {
            return Err("the head of a request is too long".into());
        }
        return Ok(None);
    };
    let head = str::from_utf8(&bytes[..end])?;
    let length = match header(head, "content-length") {
        Some(length) => length.parse::<usize>()?,
        None => 0,
    };
    if length > MAX_MESSAGE {
        return Err("a message is too long".into());
    }
    let start = end + 4;
    let Some(message) = bytes.get(start..start + length) else {
        return Ok(None);
    };
    let mut words = head.split(' ');
    let (method, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let id = path
        .split_once("/@connections/")
        .map(|(_stage, id)| id)
        .unwrap_or_default();
    let request = match method {
        "POST" => Request::Post { id, message },
        "DELETE" => Request::Delete { id },
        "GET" => match header(head, "sec-websocket-key") {
            Some(key) => Request::Upgrade {
                key: key.to_owned(),
                token: parameter(path, "token").to_owned(),
                broadcast: parameter(path, "broadcast_id").to_owned(),
            },
            None => Request::Other,
        },
        _ => Request::Other,
    };
    Ok(Some((request, &bytes[start + length..])))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = head;
    while let Some(end) = memchr::memchr(b'\n', rest.as_bytes()) {
        rest = &rest[end + 1..];
        if let Some((given, value)) = rest.split_at_checked(name.len())
            && given.eq_ignore_ascii_case(name)
            && let Some(value) = value.strip_prefix(':')
        {
            return value.split("\r\n").next().map(str::trim);
        }
    }
    None
}

/// Tokens and ids of broadcasts have no sign that is encoded in a query.
fn parameter<'a>(path: &'a str, name: &str) -> &'a str {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(given, _)| *given == name)
        .map_or("", |(_, value)| value)
}

/// The answer to an upgrade that is granted.
pub fn upgrade(key: &str) -> String {
    let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n"
    )
}

/// The head of a text frame to a viewer, and how many of its bytes count.
pub fn head(length: usize) -> ([u8; 10], usize) {
    let mut head = [0; 10];
    head[0] = 0x81;
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..126), _) => {
            head[1] = short;
            (head, 2)
        }
        (_, Ok(medium)) => {
            head[1] = 126;
            head[2..4].copy_from_slice(&medium.to_be_bytes());
            (head, 4)
        }
        _ => {
            head[1] = 127;
            head[2..].copy_from_slice(&(length as u64).to_be_bytes());
            (head, 10)
        }
    }
}

/// The first message of a viewer in `bytes` and what comes after it, once it is whole. Viewers of the bench send short text
/// frames, each a whole message.
pub fn message(bytes: &[u8]) -> Result<Option<(Message, &[u8])>> {
    let [kind, length, ..] = bytes else {
        return Ok(None);
    };
    if *kind == 0x88 {
        return Ok(Some((Message::Close, &[])));
    }
    let length = usize::from(length & 0x7f);
    if *kind != 0x81 || length > 125 {
        return Err("a viewer sent what is no short text frame".into());
    }
    let Some((mask, payload)) = bytes
        .get(2..6 + length)
        .and_then(|rest| rest.split_at_checked(4))
    else {
        return Ok(None);
    };
    let text = payload.iter().zip(mask.iter().cycle());
    let text = String::from_utf8(text.map(|(byte, mask)| byte ^ mask).collect())?;
    Ok(Some((Message::Text(text), &bytes[6 + length..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_is_read_once_it_is_whole() {
        let bytes =
            b"POST /live/@connections/ab%3D HTTP/1.1\r\nhost: x\r\nContent-Length: 2\r\n\r\nhiPOST";
        assert!(
            request(&bytes[..bytes.len() - 5])
                .expect("is right so far")
                .is_none()
        );
        let (post, rest) = request(bytes).expect("is right").expect("is whole");
        assert!(matches!(
            post,
            Request::Post {
                id: "ab%3D",
                message: b"hi"
            }
        ));
        assert_eq!(rest, b"POST");
    }

    #[test]
    fn an_upgrade_says_who_wants_in_where() {
        let bytes = b"GET /live?token=a.b&broadcast_id=b1 HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let (upgrade, _) = request(bytes).expect("is right").expect("is whole");
        let Request::Upgrade {
            key,
            token,
            broadcast,
        } = upgrade
        else {
            panic!("is an upgrade")
        };
        assert_eq!((token.as_str(), broadcast.as_str()), ("a.b", "b1"));
        // The example of RFC 6455.
        assert!(super::upgrade(&key).contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    #[test]
    fn the_head_of_a_frame_grows_with_its_message() {
        let bytes = |length| {
            let (head, count) = head(length);
            head[..count].to_vec()
        };
        assert_eq!(bytes(125), [0x81, 125]);
        assert_eq!(bytes(126), [0x81, 126, 0, 126]);
        assert_eq!(bytes(65_536), [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_message_is_unmasked() {
        let bytes = [0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2, 0x88];
        let Some((Message::Text(text), rest)) = message(&bytes).expect("is right") else {
            panic!("is whole")
        };
        assert_eq!((text.as_str(), rest), ("hi", [0x88].as_slice()));
    }
}
