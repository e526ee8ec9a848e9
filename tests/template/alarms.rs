//! Alarms: whatever a person has to do something about has one, which reaches somebody and says in two languages what to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use onepool_tests::workspace_root;
use serde_yaml_ng::Value;

use crate::{Template, camel_case, target};

const ALERTS: &str = "shared/src/channel/alert.rs";
/// What CloudWatch takes.
const LONGEST_DESCRIPTION: usize = 1_024;

#[test]
fn every_dead_letter_queue_has_an_alarm_and_every_alarm_watches_what_is_written() {
    let template = Template::read();
    let written = metrics_written();
    let collected: Vec<String> = template
        .of("AWS::SQS::Queue")
        .filter(|(_, queue)| !queue["RedrivePolicy"].is_null())
        .map(|(_, queue)| target(&queue["RedrivePolicy"]["deadLetterTargetArn"]))
        .collect();
    let queues: Vec<&str> = template
        .of("AWS::SQS::Queue")
        .map(|(name, _)| name)
        .collect();
    let mut watched = Vec::new();
    for (name, alarm) in template.of("AWS::CloudWatch::Alarm") {
        let metric = alarm["MetricName"].as_str().expect("a metric");
        let dimensions = dimensions(alarm);
        if alarm["Namespace"] == "AWS/SQS" {
            let queue = target(dimensions[0].1);
            assert!(queues.contains(&&*queue), "{name} watches no queue");
            if metric == "ApproximateNumberOfMessagesVisible" {
                watched.push(queue);
            } else {
                assert_eq!(metric, "ApproximateAgeOfOldestMessage", "{name}");
            }
        } else {
            assert_eq!(alarm["Namespace"], "Onepool", "{name}");
            let Some(labels) = written.get(metric) else {
                panic!("{name}: nobody writes {metric}")
            };
            let named: Vec<&str> = dimensions.iter().map(|(name, _)| *name).collect();
            // The name of the function comes first, then what the counter says of itself.
            assert_eq!(named[0], "function", "{name}");
            assert!(
                labels.iter().any(|labels| *labels == named[1..]),
                "{name}: {metric} is written with {labels:?} only"
            );
            let function = camel_case(dimensions[0].1.as_str().expect("a function"));
            assert!(
                template.functions().any(|(name, _)| name == function),
                "{name} watches no function"
            );
        }
    }
    for queue in collected {
        assert!(watched.contains(&queue), "{queue} fills up unseen");
    }
}

#[test]
fn every_kind_of_alert_has_an_alarm_in_each_function_that_tells_it() {
    let template = Template::read();
    let watched: BTreeSet<(String, String)> = template
        .of("AWS::CloudWatch::Alarm")
        .filter(|(_, alarm)| alarm["MetricName"] == "channel_alerts")
        .map(|(_, alarm)| {
            let [(_, function), (_, subject)] = dimensions(alarm)[..] else {
                panic!("a function and a subject")
            };
            let text = |value: &Value| value.as_str().expect("text").to_owned();
            (text(function), text(subject))
        })
        .collect();
    let sources = sources();
    let mut told = BTreeSet::new();
    for (kind, subject) in subjects() {
        let telling: Vec<&str> = sources
            .iter()
            .filter(|(_, text)| text.contains(&format!("Alert::{kind} {{")))
            .map(|(path, _)| teller(path))
            .collect();
        assert!(!telling.is_empty(), "nobody tells {kind}");
        for function in telling {
            let place = (function.to_owned(), subject.clone());
            assert!(watched.contains(&place), "{kind}: no alarm of {place:?}");
            told.insert(place);
        }
    }
    assert_eq!(watched, told, "an alarm watches what nobody tells");
}

#[test]
fn every_alarm_reaches_a_topic() {
    let template = Template::read();
    let is_named = |value: &Value, tag: &str, name: &str| matches!(value, Value::Tagged(tagged) if tagged.tag == tag && tagged.value == name);
    let is_topic = |value: &Value| {
        let Value::Tagged(choice) = value else {
            return false;
        };
        let [condition, given, own] = &choice.value.as_sequence().expect("a choice")[..] else {
            return false;
        };
        choice.tag == "If"
            && condition == "HasAlarmTopic"
            && is_named(given, "Ref", "AlarmTopicArn")
            && is_named(own, "Ref", "AlarmTopic")
    };
    for (name, alarm) in template.of("AWS::CloudWatch::Alarm") {
        let actions = alarm["AlarmActions"].as_sequence().map(Vec::as_slice);
        assert!(
            actions.is_some_and(|actions| actions.len() == 1 && is_topic(&actions[0])),
            "{name} tells nobody: {:?}",
            alarm["AlarmActions"]
        );
    }
    // The stack has a topic whenever none was given, and whoever is named is mailed, whosever it is.
    assert_eq!(
        template.resources["AlarmTopic"]["Condition"],
        "OwnsAlarmTopic"
    );
    let [given, own] = ["HasAlarmTopic", "OwnsAlarmTopic"].map(|name| &template.conditions[name]);
    let Value::Tagged(not) = given else {
        panic!("HasAlarmTopic: {given:?}")
    };
    assert!(not.tag == "Not" && not.value[0] == *own, "{given:?}");
    let mailed = &template.resources["AlarmEmailSubscription"];
    assert_eq!(mailed["Condition"], "HasAlarmEmail");
    assert!(is_topic(&mailed["Properties"]["TopicArn"]));
}

#[test]
fn every_alarm_says_what_to_do_in_korean_and_english() {
    let template = Template::read();
    let redrive = fs::read_to_string(workspace_root().join("infra/redrive.py")).expect("a file");
    for (name, alarm) in template.of("AWS::CloudWatch::Alarm") {
        let said = &alarm["AlarmDescription"];
        let text = if let Value::Tagged(sub) = said {
            sub.value.as_str()
        } else {
            said.as_str()
        };
        let text = text.unwrap_or_else(|| panic!("{name} says nothing"));
        let length = text.chars().count();
        assert!(
            length <= LONGEST_DESCRIPTION,
            "{name} says {length} letters"
        );
        // Korean first, down to its last letter.
        let is_hangul = |letter: char| ('가'..='힣').contains(&letter);
        let (korean, english) = text.split_at(text.rfind(is_hangul).unwrap_or_default());
        assert!(
            korean.contains("니다."),
            "{name} does not say what happened"
        );
        assert!(
            text.contains("주세요."),
            "{name} asks for nothing: {korean}"
        );
        assert!(english.split(' ').count() > 10, "{name}: {english}");
        if alarm["MetricName"] == "ApproximateNumberOfMessagesVisible" {
            // What `make redrive` puts back stands in its table: the rest would wait for it in vain.
            let queue = target(dimensions(alarm)[0].1);
            assert_eq!(
                text.contains("make redrive STACK=${AWS::StackName}"),
                redrive.contains(&format!("\n    \"{queue}\": ")),
                "{name}"
            );
        }
    }
}

/// Names and values.
fn dimensions(alarm: &Value) -> Vec<(&str, &Value)> {
    let dimensions = alarm["Dimensions"].as_sequence().expect("dimensions");
    dimensions
        .iter()
        .map(|dimension| {
            let name = dimension["Name"].as_str().expect("a name");
            (name, &dimension["Value"])
        })
        .collect()
}

/// Every kind of alert, as the code names it, and what it is about: the arms of `Alert::subject`, which the compiler holds to be all.
fn subjects() -> Vec<(String, String)> {
    let text = fs::read_to_string(workspace_root().join(ALERTS)).expect("a file can be read");
    let (_, rest) = text
        .split_once("fn subject(")
        .expect("alerts have subjects");
    let (arms, _) = rest.split_once("\n    }\n").expect("a function ends");
    let mut found = Vec::new();
    let mut kinds = Vec::new();
    for word in arms.split_whitespace() {
        if let Some(kind) = word.strip_prefix("Self::") {
            kinds.push(kind.to_owned());
        } else if let Some(subject) = word.trim_end_matches(',').strip_prefix('"') {
            let subject = subject.trim_end_matches('"');
            found.extend(kinds.drain(..).map(|kind| (kind, subject.to_owned())));
        }
    }
    assert!(found.len() > 10 && kinds.is_empty(), "{found:?} {kinds:?}");
    found
}

/// The function whose code a file of channels is.
fn teller(path: &Path) -> &'static str {
    let folder = workspace_root().join("shared/src/channel");
    let place = path.strip_prefix(folder).expect("channels tell alerts");
    let place = place.to_str().expect("a plain name");
    if place.starts_with("pull") {
        "channel-poll"
    } else if place.starts_with("push") {
        "channel-sync"
    } else {
        panic!("which function is {place} of?")
    }
}

/// The metrics that the code writes, each with the labels it is written with.
fn metrics_written() -> BTreeMap<String, Vec<Vec<String>>> {
    let mut written = BTreeMap::<String, Vec<Vec<String>>>::new();
    for (_, text) in sources() {
        for call in ["counter!(", "gauge!(", " count("] {
            for call in text.split(call).skip(1) {
                let arguments = call.split(')').next().unwrap_or_default();
                let words: Vec<&str> = arguments.split('"').skip(1).step_by(2).collect();
                if let Some((name, labels)) = words.split_first() {
                    let labels = labels.iter().map(|label| (*label).to_owned());
                    written
                        .entry((*name).to_owned())
                        .or_default()
                        .push(labels.collect());
                }
            }
        }
    }
    assert!(written.len() > 10, "{written:?}");
    written
}

/// The Rust files of `shared`.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![workspace_root().join("shared/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("it can be read").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a file can be read");
                found.push((path, text));
            }
        }
    }
    found
}
