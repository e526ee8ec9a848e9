//! The rules of `template.yaml`: what AWS would let pass, and what would lose or double an order there.

mod alarms;
mod guide;
mod queues;

use std::{collections::BTreeMap, fs};

use onepool::channel::wake::{PullWake, SyncWake};
use onepool_tests::workspace_root;
use serde_yaml_ng::Value;

struct Template {
    parameters: Value,
    conditions: Value,
    resources: BTreeMap<String, Value>,
    globals: Value,
}

impl Template {
    fn read() -> Self {
        let text = fs::read_to_string(workspace_root().join("template.yaml"))
            .expect("the template is there");
        let template: Value = serde_yaml_ng::from_str(&text).expect("the template is YAML");
        let resources =
            serde_yaml_ng::from_value(template["Resources"].clone()).expect("resources have names");
        Self {
            parameters: template["Parameters"].clone(),
            conditions: template["Conditions"].clone(),
            resources,
            globals: template["Globals"]["Function"].clone(),
        }
    }

    fn of(&self, kind: &str) -> impl Iterator<Item = (&str, &Value)> {
        let kind = kind.to_owned();
        self.resources
            .iter()
            .filter(move |(_, resource)| resource["Type"] == kind.as_str())
            .map(|(name, resource)| (name.as_str(), &resource["Properties"]))
    }

    /// A text, with the defaults of the parameters that it names.
    fn text(&self, value: &Value) -> String {
        let default = |name: &str| match &self.parameters[name]["Default"] {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Null
            | Value::Bool(_)
            | Value::Sequence(_)
            | Value::Mapping(_)
            | Value::Tagged(_) => panic!("{name} has no default"),
        };
        match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            Value::Tagged(tagged) if tagged.tag == "Ref" => {
                default(tagged.value.as_str().expect("a name"))
            }
            Value::Tagged(tagged) if tagged.tag == "Sub" => {
                let mut parts = tagged.value.as_str().expect("text").split("${");
                let mut text = parts.next().unwrap_or_default().to_owned();
                for part in parts {
                    let (name, rest) = part.split_once('}').expect("a name ends");
                    text += &default(name);
                    text += rest;
                }
                text
            }
            Value::Bool(_)
            | Value::Number(_)
            | Value::Sequence(_)
            | Value::Mapping(_)
            | Value::Tagged(_) => panic!("expected a text, not {value:?}"),
        }
    }

    fn functions(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.of("AWS::Serverless::Function")
    }
}

/// The logical id that a `!Ref`, `!GetAtt` or `!Sub` names.
fn target(value: &Value) -> String {
    let Value::Tagged(tagged) = value else {
        panic!("expected a reference, not {value:?}")
    };
    let text = tagged.value.as_str().expect("a reference is text");
    text.trim_start_matches("integrations/")
        .trim_matches(['$', '{', '}'])
        .split('.')
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("expected a number, not {value:?}"))
}

fn camel_case(folder: &str) -> String {
    folder
        .split('-')
        .map(|word| word[..1].to_uppercase() + &word[1..])
        .collect()
}

#[test]
fn every_function_folder_is_deployed_under_its_name() {
    let template = Template::read();
    let mut folders = Vec::new();
    for entry in fs::read_dir(workspace_root().join("functions"))
        .expect("functions/ can be read")
        .flatten()
    {
        let folder = entry.file_name().into_string().expect("a plain name");
        let function = template
            .resources
            .get(&camel_case(&folder))
            .unwrap_or_else(|| panic!("{folder} is not deployed"));
        assert_eq!(
            function["Properties"]["CodeUri"],
            format!("target/lambda/{folder}/").as_str()
        );
        // A pull that is slow writes down how far it came.
        let longest = if folder == "channel-poll" { 90 } else { 60 };
        assert!(
            number(&function["Properties"]["Timeout"]) <= longest,
            "{folder} may hang"
        );
        folders.push(camel_case(&folder));
    }
    for (name, _) in template.functions() {
        assert!(folders.contains(&name.to_owned()), "{name} has no folder");
    }
    assert_eq!(template.globals["Runtime"], "provided.al2023");
}

/// What each function may do. A right that is added here is added on purpose.
#[test]
fn every_function_may_do_what_it_does_and_nothing_else() {
    let template = Template::read();
    let mut rights = Vec::new();
    for (name, function) in template.functions() {
        for policy in function["Policies"]
            .as_sequence()
            .expect("a function has policies")
        {
            for statement in policy["Statement"]
                .as_sequence()
                .expect("a policy has statements")
            {
                let Value::Tagged(resource) = &statement["Resource"] else {
                    panic!("{name}: a resource is named by the template")
                };
                let resource = resource.value.as_str().expect("text");
                assert!(
                    !resource.ends_with(":*") && resource != "*",
                    "{name} may do it to anything"
                );
                for action in statement["Action"].as_sequence().expect("actions") {
                    let action = action.as_str().expect("text");
                    assert!(!action.contains('*'), "{name} may do anything");
                    let resource = match resource.split_once("/live/") {
                        Some((_, connections)) => connections,
                        None => &resource.replace(['$', '{', '}'], "").replace(".Arn", ""),
                    };
                    rights.push(format!("{name} {action} {resource}"));
                }
            }
        }
    }
    rights.sort();
    let expected = include_str!("../rights.txt");
    assert_eq!(
        rights.join("\n"),
        expected.trim(),
        "rights.txt lists what is granted"
    );
}

#[test]
fn every_route_leads_to_a_function_that_may_be_called() {
    let template = Template::read();
    let integrations: BTreeMap<_, _> = template.of("AWS::ApiGatewayV2::Integration").collect();
    let permissions: Vec<(String, String)> = template
        .of("AWS::Lambda::Permission")
        .map(|(_, permission)| {
            let Value::Tagged(source) = &permission["SourceArn"] else {
                panic!("a permission names its caller")
            };
            (
                target(&permission["FunctionName"]),
                source.value.as_str().expect("text").to_owned(),
            )
        })
        .collect();
    let mut routes = Vec::new();
    for (name, route) in template.of("AWS::ApiGatewayV2::Route") {
        let integration = integrations[target(&route["Target"]).as_str()];
        let api = target(&route["ApiId"]);
        assert_eq!(
            api,
            target(&integration["ApiId"]),
            "{name} leads into another API"
        );
        let Value::Tagged(uri) = &integration["IntegrationUri"] else {
            panic!("{name} leads nowhere")
        };
        let uri = uri.value.as_str().expect("text");
        let function = uri
            .split("functions/${")
            .nth(1)
            .and_then(|rest| rest.split('.').next())
            .expect("a function");
        let allowed = permissions
            .iter()
            .any(|(named, source)| named == function && source.contains(&format!("${{{api}}}")));
        assert!(allowed, "{api} may not call {function}");
        routes.push(format!(
            "{} {function}",
            route["RouteKey"].as_str().expect("text")
        ));
    }
    routes.sort();
    assert_eq!(
        routes,
        [
            "$connect WsConnections",
            "$default WsConnections",
            "$disconnect WsConnections",
            "DELETE /broadcasts/{broadcast_id}/products/{product_id} BroadcastAdmin",
            "DELETE /channels/{channel}/quarantine/{key} BroadcastAdmin",
            "GET /broadcasts/{broadcast_id} BroadcastAdmin",
            "GET /channels BroadcastAdmin",
            "GET /channels/{channel}/quarantine BroadcastAdmin",
            "GET /orders/{order_id} OrderAccept",
            "GET /products/{product_id} BroadcastAdmin",
            "GET /products/{product_id}/trace BroadcastAdmin",
            "PATCH /broadcasts/{broadcast_id}/products/{product_id} BroadcastAdmin",
            "POST /broadcasts BroadcastAdmin",
            "POST /broadcasts/{broadcast_id}/end BroadcastAdmin",
            "POST /broadcasts/{broadcast_id}/moderation BroadcastAdmin",
            "POST /broadcasts/{broadcast_id}/orders OrderAccept",
            "POST /broadcasts/{broadcast_id}/products/spotlight BroadcastAdmin",
            "POST /broadcasts/{broadcast_id}/start BroadcastAdmin",
            "POST /channels/{channel}/hint ChannelHint",
            "POST /channels/{channel}/pull BroadcastAdmin",
            "POST /channels/{channel}/resync BroadcastAdmin",
            "POST /orders/{order_id}/cancel PaymentWebhook",
            "POST /orders/{order_id}/payment PaymentWebhook",
            "POST /payments/webhook PaymentWebhook",
            "POST /products/{product_id}/stock BroadcastAdmin",
            "PUT /products/{product_id} BroadcastAdmin",
            "PUT /products/{product_id}/listings/{channel} BroadcastAdmin",
        ]
    );
}

#[test]
fn every_schedule_is_there_and_says_what_its_function_reads() {
    let template = Template::read();
    let mut schedules = Vec::new();
    for (name, function) in template.functions() {
        let Some(events) = function["Events"].as_mapping() else {
            continue;
        };
        for (_, event) in events {
            assert_eq!(event["Type"], "ScheduleV2", "{name}");
            let schedule = &event["Properties"];
            let input = template.text(&schedule["Input"]);
            match name {
                "ChannelPoll" => drop(serde_json::from_str::<PullWake>(&input).expect(&input)),
                "ChannelSync" => drop(serde_json::from_str::<SyncWake>(&input).expect(&input)),
                _ => assert_eq!(input, "", "{name} reads none"),
            }
            let when = match &schedule["State"] {
                Value::Null => String::new(),
                Value::Tagged(state) => {
                    assert_eq!(state.tag, "If", "{name} {input}");
                    let [condition, yes, no] = &state.value.as_sequence().expect("a list")[..]
                    else {
                        panic!("{name} {input}: {state:?}")
                    };
                    assert!(yes == "ENABLED" && no == "DISABLED", "{name} {input}");
                    format!(" if {}", condition.as_str().expect("a condition"))
                }
                Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Sequence(_)
                | Value::Mapping(_) => panic!("{name} {input}: always or never"),
            };
            let rate = template.text(&schedule["ScheduleExpression"]);
            schedules.push(format!("{name} {rate}{when}: {input}"));
        }
    }
    schedules.sort();
    let mut expected = vec![
        "Reconcile rate(1 minute): ".to_owned(),
        r#"ChannelSync rate(1 minute): {"kind":"tick"}"#.to_owned(),
    ];
    for (channel, condition) in [
        ("smartstore", "HasSmartStore"),
        ("coupang", "HasCoupang"),
        ("elevenst", "HasElevenSt"),
        ("ownstore", "HasOwnStore"),
    ] {
        expected.extend([
            format!(r#"ChannelPoll rate(10 minutes) if {condition}: {{"channel":"{channel}"}}"#),
            format!(
                r#"ChannelPoll rate(6 hours) if {condition}: {{"channel":"{channel}","sweep_days":7}}"#
            ),
            format!(
                r#"ChannelSync rate(1 hour) if {condition}: {{"kind":"sweep","channel":"{channel}"}}"#
            ),
        ]);
    }
    expected.sort();
    assert_eq!(schedules, expected);
}

#[test]
fn no_table_is_lost_with_the_stack_and_no_secret_stands_in_the_template() {
    let template = Template::read();
    for (name, table) in template.of("AWS::DynamoDB::Table") {
        assert_eq!(
            template.resources[name]["DeletionPolicy"], "Retain",
            "{name}"
        );
        assert_eq!(
            table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], true,
            "{name}"
        );
    }
    for (name, function) in template.functions() {
        for (variable, value) in function["Environment"]["Variables"]
            .as_mapping()
            .expect("variables")
        {
            let variable = variable.as_str().expect("text");
            if variable.contains("SECRET") {
                let Value::Tagged(value) = value else {
                    panic!("{name}: {variable} stands in the template")
                };
                assert!(
                    value
                        .value
                        .as_str()
                        .is_some_and(|text| text.contains("resolve:secretsmanager")),
                    "{name}: {variable}"
                );
            }
        }
    }
}
