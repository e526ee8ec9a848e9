//! Deploys `template.yaml`, the file that AWS gets, onto the local endpoint.
//!
//! What `sam package` and `sam deploy` do, and no more: binaries to S3, `CodeUri` to their address, secrets, then
//! CloudFormation. A queue, route or variable missing from the template is missing here too.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep;

use crate::aws::{Aws, Refusal, text_of};
use crate::config::Config;
use crate::error::{Context, Error, Result};
use crate::marketplaces::Channels;
use crate::{package, say};

const STACK: &str = "onepool";
const BUCKET: &str = "onepool-deploy";
/// The template's line that names a function's binary, up to the name.
const CODE_URI: &str = "CodeUri: target/lambda/";
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the stack finds what is not in it.
pub struct Surroundings<'a> {
    /// Of this run's Redis.
    pub redis_url: &'a str,
    /// Of the payment gateway.
    pub toss_base_url: &'a str,
    /// What tokens are signed with.
    pub token_secret: &'a str,
    /// Where functions reach viewers; API and stage are appended.
    pub callback_base_url: &'a str,
    /// The channels of the shop.
    pub channels: &'a Channels,
}

/// A deployed stack.
pub struct Stack {
    /// The template's outputs by name.
    pub outputs: BTreeMap<String, String>,
    /// The URL of every queue, by its logical id.
    pub queues: BTreeMap<String, String>,
}

impl Stack {
    /// One output that must be there.
    pub fn output(&self, name: &str) -> Result<&str> {
        let value = self.outputs.get(name).map(String::as_str);
        value.ok_or_else(|| {
            Error::new(format!("template.yaml has no output {name}"))
                .fix("add it: the local run needs it")
        })
    }
}

/// Creates the stack, or updates it where the endpoint has one already.
pub async fn deploy(aws: &Aws, config: &Config, around: &Surroundings<'_>) -> Result<Stack> {
    let since = Instant::now();
    // New names with every run: CloudFormation reads a secret again only for a resource that has changed, and an
    // endpoint that was there before has the stack of an earlier run.
    let run = token();
    let token_secret = secret(
        aws,
        format!("onepool/{run}/token-secret"),
        around.token_secret,
    )
    .await?;
    let toss_secret = secret(
        aws,
        format!("onepool/{run}/toss-secret-key"),
        &config.toss_secret_key,
    )
    .await?;
    let mut channels = Vec::new();
    for (name, channel) in around.channels {
        let secret = secret(aws, format!("onepool/{run}/{name}"), &channel.credentials).await?;
        let prefix = parameter_prefix(name);
        channels.push((format!("{prefix}BaseUrl"), channel.url.clone()));
        channels.push((format!("{prefix}SecretName"), secret));
    }
    let names: Vec<&str> = around.channels.keys().map(String::as_str).collect();
    channels.push(("Channels".to_owned(), names.join(",")));
    channels.push((
        "OwnStoreMarketplace".to_owned(),
        config.own_store_marketplace.clone(),
    ));
    aws.bucket(BUCKET).await?;
    let template =
        fs::read_to_string(config.root.join("template.yaml")).context(|| "template.yaml".into())?;
    let (template, functions) = with_uploaded_code(aws, config, &template).await?;
    // By address: the text itself may be 51,200 bytes at most.
    aws.object(BUCKET, "template.yaml", template.into_bytes())
        .await?;

    let mut request = vec![
        ("StackName".to_owned(), STACK.to_owned()),
        (
            "TemplateURL".to_owned(),
            format!("{}/{BUCKET}/template.yaml", aws.endpoint),
        ),
        (
            "Capabilities.member.1".to_owned(),
            "CAPABILITY_IAM".to_owned(),
        ),
        (
            "Capabilities.member.2".to_owned(),
            "CAPABILITY_AUTO_EXPAND".to_owned(),
        ),
    ];
    let parameters = [
        ("RedisUrl", around.redis_url),
        ("TokenSecretName", &token_secret),
        ("TossSecretName", &toss_secret),
        ("TossBaseUrl", around.toss_base_url),
        ("CallbackBaseUrl", around.callback_base_url),
        // About half of what the emulator can post.
        ("CallbackBudget", "250"),
    ];
    let parameters = parameters
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .chain(channels);
    for (position, (key, value)) in parameters.enumerate() {
        let member = format!("Parameters.member.{}", position + 1);
        request.push((format!("{member}.ParameterKey"), key));
        request.push((format!("{member}.ParameterValue"), value));
    }
    match aws.query("cloudformation", "CreateStack", &request).await? {
        Ok(_stack_id) => {}
        Err(refusal) if refusal.code == "AlreadyExistsException" => update(aws, &request).await?,
        Err(refusal) => return Err(refused("CreateStack", &refusal)),
    }
    let outputs = until_complete(aws).await?;
    let queues = queues(aws).await?;
    say::ready(
        "template.yaml",
        &format!("{functions} functions, {} queues", queues.len()),
        since,
    );
    Ok(Stack { outputs, queues })
}

/// What the template's parameters of a channel begin with.
fn parameter_prefix(channel: &str) -> &'static str {
    match channel {
        "smartstore" => "SmartStore",
        "coupang" => "Coupang",
        "elevenst" => "ElevenSt",
        _ => "OwnStore",
    }
}

async fn secret(aws: &Aws, name: String, value: &str) -> Result<String> {
    let request = json!({ "Name": name, "SecretString": value, "ClientRequestToken": token() });
    let answer = aws
        .json("secretsmanager", "secretsmanager.CreateSecret", &request)
        .await?;
    answer
        .map(|_created| name)
        .map_err(|refusal| refused("CreateSecret", &refusal))
}

/// A request token: 32 to 64 characters.
fn token() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// Uploads each function the template names, and names the uploads instead.
async fn with_uploaded_code(aws: &Aws, config: &Config, template: &str) -> Result<(String, usize)> {
    let mut lines = Vec::new();
    let mut functions = 0;
    for line in template.lines() {
        let Some((indent, function)) = line.split_once(CODE_URI) else {
            lines.push(line.to_owned());
            continue;
        };
        let package = package::pack(&config.binaries, function.trim_end_matches('/'))?;
        let address = aws.object(BUCKET, &package.key, package.bytes).await?;
        lines.push(format!("{indent}CodeUri: {address}"));
        functions += 1;
    }
    Ok((lines.join("\n"), functions))
}

async fn update(aws: &Aws, request: &[(String, String)]) -> Result<()> {
    match aws.query("cloudformation", "UpdateStack", request).await? {
        Ok(_stack_id) => Ok(()),
        Err(refusal) if refusal.message.contains("No updates are to be performed") => Ok(()),
        Err(refusal) => Err(refused("UpdateStack", &refusal)),
    }
}

async fn until_complete(aws: &Aws) -> Result<BTreeMap<String, String>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let xml = describe(aws, "DescribeStacks").await?;
        let document = roxmltree::Document::parse(&xml)
            .context(|| format!("DescribeStacks answered {xml}"))?;
        let status = text_of(document.root(), "StackStatus");
        match status.as_str() {
            "CREATE_COMPLETE" | "UPDATE_COMPLETE" => {
                return Ok(members(&document, "Outputs", "OutputKey", "OutputValue"));
            }
            settled if settled.ends_with("FAILED") || settled.contains("ROLLBACK") => {
                return Err(
                    Error::new(format!("the stack is {status}:{}", failures(aws).await?))
                        .fix("mend template.yaml; `make test` lints it first"),
                );
            }
            _under_way if Instant::now() > deadline => {
                return Err(Error::new(format!(
                    "the stack is {status} after {} s{}",
                    PATIENCE.as_secs(),
                    failures(aws).await?
                )));
            }
            _under_way => sleep(Duration::from_millis(50)).await,
        }
    }
}

/// What went wrong, a resource a line, first cause first.
async fn failures(aws: &Aws) -> Result<String> {
    let xml = describe(aws, "DescribeStackEvents").await?;
    let document = roxmltree::Document::parse(&xml)
        .context(|| format!("DescribeStackEvents answered {xml}"))?;
    let events = document
        .descendants()
        .filter(|node| node.tag_name().name() == "member");
    let failed = events.filter(|event| text_of(*event, "ResourceStatus").ends_with("FAILED"));
    let mut lines: Vec<String> = failed
        .map(|event| {
            let word = |name| text_of(event, name);
            format!(
                "\n    {} ({}): {}",
                word("LogicalResourceId"),
                word("ResourceType"),
                word("ResourceStatusReason")
            )
        })
        .collect();
    // Events come newest first.
    lines.reverse();
    Ok(lines.concat())
}

async fn queues(aws: &Aws) -> Result<BTreeMap<String, String>> {
    let xml = describe(aws, "DescribeStackResources").await?;
    let document = roxmltree::Document::parse(&xml)
        .context(|| format!("DescribeStackResources answered {xml}"))?;
    let members = document
        .descendants()
        .filter(|node| node.tag_name().name() == "member");
    let queues = members.filter(|member| text_of(*member, "ResourceType") == "AWS::SQS::Queue");
    Ok(queues
        .map(|queue| {
            (
                text_of(queue, "LogicalResourceId"),
                text_of(queue, "PhysicalResourceId"),
            )
        })
        .collect())
}

fn members(
    document: &roxmltree::Document<'_>,
    list: &str,
    key: &str,
    value: &str,
) -> BTreeMap<String, String> {
    let Some(list) = document
        .descendants()
        .find(|node| node.tag_name().name() == list)
    else {
        return BTreeMap::new();
    };
    let members = list
        .children()
        .filter(|node| node.tag_name().name() == "member");
    members
        .map(|member| (text_of(member, key), text_of(member, value)))
        .collect()
}

async fn describe(aws: &Aws, action: &str) -> Result<String> {
    let stack = [("StackName".to_owned(), STACK.to_owned())];
    aws.query("cloudformation", action, &stack)
        .await?
        .map_err(|refusal| refused(action, &refusal))
}

fn refused(what: &str, refusal: &Refusal) -> Error {
    Error::new(format!("{what}: {} {}", refusal.code, refusal.message))
}
