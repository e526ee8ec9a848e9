//! How long the log of a room keeps what happened.

use std::time::Duration;

use onepool::{clock, room::Addressed};
use onepool_tests::{Shop, Show};

use crate::steps::chat;

/// What a viewer may be away for.
const AWAY: Duration = Duration::from_secs(120);
/// Chats of a turn, and the time between two turns.
const CHATS: u64 = 20;
const TURN: Duration = Duration::from_secs(5);
const TURNS: u64 = 80;

async fn length(shop: &Shop, show: &Show) -> u64 {
    let mut redis = shop.redis.plain().await;
    redis::cmd("XLEN")
        .arg(format!("{{demo}}:log:{}", show.broadcast))
        .query_async(&mut redis)
        .await
        .expect("answers")
}

#[tokio::test]
async fn the_log_keeps_two_minutes_and_is_cut_behind_them() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let viewer = "u1".parse().expect("a user id");
    let began = clock::now();
    let turns_away = AWAY.as_secs() / TURN.as_secs();
    // After each turn, the last sequence number.
    let mut heads: Vec<u64> = Vec::new();
    for turn in 0..TURNS {
        let now = began + TURN * u32::try_from(turn).expect("is small");
        let chats: Vec<Addressed> = (0..CHATS)
            .map(|number| (None, chat(&format!("{turn}-{number}"), now)))
            .collect();
        let appended = shop.rooms.append(&show.broadcast, &chats, now).await;
        appended.expect("is appended");
        let room = shop.rooms.snapshot(&show.broadcast).await;
        heads.push(room.expect("answers").expect("is known").seq);

        let away = turn.min(turns_away);
        let seen = heads[usize::try_from(turn - away).expect("is small")];
        let resumed = shop.rooms.resume(&show.broadcast, &viewer, seen).await;
        let (head, missed) = (resumed.expect("answers"))
            .unwrap_or_else(|| panic!("turn {turn}: away for two minutes, and forgotten"));
        assert_eq!(Some(&head), heads.last());
        let expected = (turn - away + 1..=turn)
            .flat_map(|turn| (0..CHATS).map(move |number| format!(r#""{turn}-{number}""#)));
        let numbers = missed.iter().zip(seen + 1..);
        assert!(
            numbers.clone().all(|(event, seq)| event.seq == seq),
            "turn {turn}: a gap"
        );
        assert_eq!(missed.len() as u64, away * CHATS);
        for (event, text) in missed.iter().zip(expected) {
            assert!(event.json.contains(&text), "{} is not {text}", event.json);
        }
    }
    // Two minutes and a sixth of one; a tenth more, because it is not cut at each turn; a node of the stream.
    let most = (130 + 13 + TURN.as_secs()) / TURN.as_secs() * CHATS + CHATS + 100;
    let left = length(&shop, &show).await;
    assert!(left <= most, "{left} events of {} are left", TURNS * CHATS);
    let first = shop.rooms.resume(&show.broadcast, &viewer, heads[0]).await;
    assert_eq!(first.expect("answers"), None);
}
