//! The document of the WebSocket: that it is one, that its examples are right, and that it says no. What the running stack sends
//! is held against it in `show`.

use onepool::room::{
    chat::MAX_CHAT,
    socket::{MAX_LIKES, MAX_MESSAGE},
};
use onepool_tests::AsyncApi;
use serde_json::{Value, json};

const FRAME: &str = "/components/messages/frame/payload";

#[test]
fn the_document_is_asyncapi() {
    let api = AsyncApi::read();
    for (pointer, broken) in [
        ("/asyncapi", json!("2.0.0")),
        ("/operations/tell/action", json!("shout")),
        ("/servers/aws/host", Value::Null),
        ("/channels/room/bindings/ws/method", json!("PATCH")),
        (
            "/components/schemas/pong/properties/type",
            json!("not a schema"),
        ),
        ("/components/securitySchemes/token/in", json!("body")),
        ("/components/messages/ping/examples", json!("none")),
    ] {
        let mut document = api.document.clone();
        *document
            .pointer_mut(pointer)
            .expect("the document has this") = broken;
        assert!(
            api.is_asyncapi(&document).is_err(),
            "{pointer} may be anything"
        );
    }
}

#[test]
fn every_reference_leads_somewhere_and_everything_is_referred_to() {
    let api = AsyncApi::read();
    let mut references = Vec::new();
    collect(&api.document, &mut references);
    for reference in &references {
        let pointer = reference.strip_prefix('#').expect("stays in the document");
        assert!(
            api.document.pointer(pointer).is_some(),
            "{reference} leads nowhere"
        );
    }
    for kind in ["messages", "schemas", "securitySchemes"] {
        for name in api.document["components"][kind]
            .as_object()
            .expect("components")
            .keys()
        {
            let reference = format!("#/components/{kind}/{name}");
            assert!(references.contains(&reference), "nobody needs {reference}");
        }
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            references.extend(fields.get("$ref").and_then(Value::as_str).map(String::from));
            fields.values().for_each(|field| collect(field, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_message_and_every_event_has_examples_that_fit() {
    let api = AsyncApi::read();
    let components = &api.document["components"];
    let messages = components["messages"].as_object().expect("messages");
    let mut fitting = 0;
    for (name, message) in messages {
        let pointer = format!("/components/messages/{name}/payload");
        for example in examples(message) {
            fits(&api, &pointer, &example["payload"]);
            fitting += 1;
        }
    }
    for name in api.events() {
        let pointer = format!("/components/schemas/{name}");
        for event in examples(&components["schemas"][name]) {
            fits(&api, &pointer, event);
            assert_eq!(event["type"], name);
            fits(
                &api,
                FRAME,
                &json!({ "type": "frame", "seq": 1, "events": [event] }),
            );
            fitting += 1;
        }
    }
    assert!(fitting >= messages.len() + api.events().len());
}

fn examples(of: &Value) -> &[Value] {
    let examples = of["examples"].as_array().map(Vec::as_slice);
    let examples = examples.unwrap_or_default();
    assert!(!examples.is_empty(), "no example of {of}");
    examples
}

fn fits(api: &AsyncApi, pointer: &str, value: &Value) {
    if let Err(why) = api.check(pointer, value) {
        panic!("{pointer}: {value} does not fit: {why}");
    }
}

#[test]
fn an_event_that_is_unknown_or_lacks_something_does_not_fit() {
    let api = AsyncApi::read();
    let frame = |event: &Value| json!({ "type": "frame", "seq": 1, "events": [event] });
    let refused = |event: &Value, why: &str| {
        assert!(
            api.check(FRAME, &frame(event)).is_err(),
            "{event} fits {why}"
        );
    };
    refused(
        &json!({ "type": "fireworks", "count": 1 }),
        "though nobody knows it",
    );
    refused(&json!({ "count": 1 }), "without a type");
    let schemas = &api.document["components"]["schemas"];
    for name in api.events() {
        let event = &schemas[name]["examples"][0];
        let required = schemas[name]["required"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        for field in required.iter().filter_map(Value::as_str) {
            let mut without = event.clone();
            without.as_object_mut().expect("an object").remove(field);
            refused(&without, &format!("without {field}"));
        }
        let mut with_more = event.clone();
        with_more["something_new"] = json!(1);
        fits(&api, FRAME, &frame(&with_more));
    }
    let mut init = schemas["init"]["examples"][0].clone();
    init["products"][0]
        .as_object_mut()
        .expect("a product")
        .remove("version");
    refused(&init, "with a product without a version");
    let mut failed = schemas["order_result"]["examples"][0].clone();
    failed["status"] = json!("failed");
    refused(&failed, "without a reason");
    let mut vague = schemas["inventory_update"]["examples"][0].clone();
    vague["timestamp"] = json!("2026-01-01 09:00");
    refused(&vague, "with a time without an offset");
}

#[test]
fn the_limits_are_those_of_the_code() {
    let api = AsyncApi::read();
    let chat = |message: String| {
        let said = json!({ "type": "chat", "message": message });
        api.check("/components/messages/chat/payload", &said)
    };
    assert!(chat("가".repeat(MAX_CHAT)).is_ok());
    assert!(chat("가".repeat(MAX_CHAT + 1)).is_err());
    assert!(chat(String::new()).is_err());
    let like = |count: u32| {
        let liked = json!({ "type": "like", "count": count });
        api.check("/components/messages/like/payload", &liked)
    };
    assert!(like(MAX_LIKES).is_ok());
    assert!(like(MAX_LIKES + 1).is_err());
    let said = api.document["info"]["description"].as_str();
    let said = said.expect("a description");
    let limit = format!("text, of at most {MAX_MESSAGE} bytes");
    assert!(said.contains(&limit), "nothing says {limit:?}");
    let longest = r"\udbff\udfff".repeat(MAX_CHAT);
    let longest = format!(r#"{{"type":"chat","message":"{longest}"}}"#);
    assert!(longest.len() <= MAX_MESSAGE, "a chat has no room");
}
