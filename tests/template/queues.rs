//! Queues and their consumers: nothing is lost, and nothing is given up too early.

use std::collections::BTreeMap;

use crate::{Template, number, target};

#[test]
fn every_queue_has_a_dead_letter_queue_that_remembers_longer() {
    let template = Template::read();
    let queues: BTreeMap<_, _> = template.of("AWS::SQS::Queue").collect();
    let mut dead_letters = Vec::new();
    let consumed: Vec<_> = template
        .of("AWS::Lambda::EventSourceMapping")
        .map(|(_, mapping)| target(&mapping["EventSourceArn"]))
        .collect();
    for name in &consumed {
        let queue = queues[name.as_str()];
        let redrive = &queue["RedrivePolicy"];
        assert!(
            number(&redrive["maxReceiveCount"]) >= 5,
            "{name} gives up too early"
        );
        let dead_letter = target(&redrive["deadLetterTargetArn"]);
        let kept = number(&queues[dead_letter.as_str()]["MessageRetentionPeriod"]);
        assert!(
            kept > number(&queue["MessageRetentionPeriod"]),
            "{dead_letter} forgets before {name}"
        );
        dead_letters.push(dead_letter);
    }
    let unused: Vec<_> = queues
        .keys()
        .map(|name| (*name).to_owned())
        .filter(|name| !consumed.contains(name) && !dead_letters.contains(name))
        .collect();
    assert!(
        unused.is_empty(),
        "{unused:?}: nobody reads them, and they collect from no queue"
    );
    for (name, queue) in &queues {
        assert!(
            queue["RedrivePolicy"].is_null() || consumed.contains(&(*name).to_owned()),
            "nobody reads {name}, so nothing moves on from it"
        );
    }
}

#[test]
fn every_consumer_reports_its_failures_is_bounded_and_has_time() {
    let template = Template::read();
    let functions: BTreeMap<_, _> = template.functions().collect();
    let queues: BTreeMap<_, _> = template.of("AWS::SQS::Queue").collect();
    for (name, mapping) in template.of("AWS::Lambda::EventSourceMapping") {
        let (queue, function) = (
            target(&mapping["EventSourceArn"]),
            target(&mapping["FunctionName"]),
        );
        let answers = mapping["FunctionResponseTypes"]
            .as_sequence()
            .cloned()
            .unwrap_or_default();
        assert!(
            answers.contains(&"ReportBatchItemFailures".into()),
            "{name}: failed messages of {queue} would be deleted"
        );
        assert!(
            !mapping["ScalingConfig"]["MaximumConcurrency"].is_null(),
            "{name} has no bound"
        );
        let window = mapping["MaximumBatchingWindowInSeconds"]
            .as_u64()
            .unwrap_or(0);
        assert!(
            number(&mapping["BatchSize"]) <= 10 || window >= 1,
            "{name}: a batch over 10 needs a window"
        );
        let needed = 6 * number(&functions[function.as_str()]["Timeout"]) + window;
        let visibility = number(&queues[queue.as_str()]["VisibilityTimeout"]);
        assert!(
            visibility >= needed,
            "{queue}: {visibility} s visibility, {function} needs {needed}"
        );
    }
}
