//! From a validated route to the ports and settings of its drain: looks at the queues and the table, and refuses what they
//! contradict, before anything is received.

use std::rc::Rc;
use std::time::Duration;

use crate::aws::clock::SystemClock;
use crate::aws::outcome::NO_CREDENTIALS;
use crate::aws::provision::WRONG_KEY;
use crate::aws::{self, Aws, Clients, Timeouts};
use crate::drain::Wiring;
use crate::drain::settings::{
    Cutoff, Destination, GroupFrom, LEASE, Settings, Timings, lease_in_words,
};
use crate::exit::ExitCode;
use crate::journal::Delivery;
use crate::ledger::source_name;
use crate::message::{BATCH_BYTES, Counts};
use crate::plan::{self, ProcessPlan, QueueFacts, QueueRef, RoutePlan, check_queues};
use crate::port::{Ports, QueueError, Source, StoreError, Trouble};
use crate::rules::Rules;

use super::Failure;

/// The real ports.
pub struct Real;

impl Ports for Real {
    type Source = aws::sqs::Queue;
    type Sink = aws::sqs::Queue;
    type Store = aws::dynamo::Table;
    type Clock = SystemClock;
}

/// A route that is ready to be drained.
pub struct Connected {
    /// The ports.
    pub wiring: Wiring<Real>,
    /// The drain's settings.
    pub settings: Settings,
    /// For the request counts.
    pub clients: Clients,
    /// What the source said it holds.
    pub counts: Counts,
    /// The table's name, where there is one.
    pub table: Option<String>,
}

/// Clients with the route's timeouts.
pub fn clients_of(aws: &Aws, route: &RoutePlan) -> Clients {
    let send = route.timings.send_timeout;
    aws.clients_with(Timeouts {
        send,
        // The time that the lanes leave for a delete's or a visibility change's answer is the one they leave for a send's.
        control: Timeouts::default().control.min(send),
        table: route.timings.table_timeout,
    })
}

fn said(queue: &QueueRef) -> &str {
    match queue {
        QueueRef::Url(text) | QueueRef::Name(text) => text,
    }
}

fn no_credentials(why: &str) -> String {
    let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
    format!(
        "there are no AWS credentials: give the job a role, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY \
         (from a single sign-on profile: `aws configure export-credentials --format env`); the SDK says: {why}"
    )
}

/// The code of an answer to a request of another service (Smithy's protocols; AWS's own services and emulators of them give it).
const WRONG_SERVICE: &str = "UnknownOperation";

/// An endpoint that answers, and speaks something else.
fn wrong_service(service: &str, variable: &str) -> String {
    format!(
        "what answers for {service} is another service ({WRONG_SERVICE}): set {variable} (or AWS_ENDPOINT_URL) to an endpoint of {service}, or unset it"
    )
}

/// Why a queue cannot be used, in one line.
pub fn queue_failure(role: &str, queue: &QueueRef, error: &QueueError) -> Failure {
    let name = said(queue);
    let (exit, line) = match error.kind {
        Trouble::Missing => (
            ExitCode::Refused,
            format!(
                "the {role} queue '{name}' does not exist: check its name, the account and the region (AWS_REGION)"
            ),
        ),
        Trouble::Denied if error.code == NO_CREDENTIALS => {
            (ExitCode::Refused, no_credentials(&error.message))
        }
        Trouble::Denied => (
            ExitCode::Refused,
            format!(
                "no access to the {role} queue '{name}' ({}): check credentials and the role's policy",
                error.code
            ),
        ),
        Trouble::Other if error.code == WRONG_SERVICE => (
            ExitCode::Refused,
            wrong_service("SQS", "AWS_ENDPOINT_URL_SQS"),
        ),
        Trouble::Other => (
            ExitCode::Refused,
            format!(
                "the {role} queue '{name}' cannot be read ({}): {}",
                error.code, error.message
            ),
        ),
        Trouble::Throttled | Trouble::Unreachable => (
            ExitCode::Unavailable,
            format!(
                "SQS cannot be reached for the {role} queue '{name}' ({}): check endpoint and network, then start again",
                error.code
            ),
        ),
    };
    Failure::new(exit, line)
}

/// A table of somebody else's: the service refuses a key that is not the table's with a `ValidationException` that
/// speaks of it.
fn another_table(table: &str) -> String {
    format!(
        "the table '{table}' is not a checkpoint table (its key is not a string pk and a string sk): use another name, `sqs-drain init --table NAME` creates it"
    )
}

/// Why the table cannot be used, in one line.
pub fn table_failure(table: &str, error: &StoreError) -> Failure {
    let (exit, line) = match error {
        StoreError::Failed {
            kind: Trouble::Denied,
            code,
            message,
        } if code == NO_CREDENTIALS => (ExitCode::Refused, no_credentials(message)),
        StoreError::Failed {
            kind: Trouble::Denied,
            code,
            ..
        } => (
            ExitCode::Refused,
            format!(
                "no access to the table '{table}' ({code}): check credentials and the role's policy"
            ),
        ),
        StoreError::Failed {
            kind: Trouble::Missing,
            ..
        } => (
            ExitCode::Refused,
            format!(
                "the table '{table}' does not exist: check its name, the account and the region (AWS_REGION), or create it with `sqs-drain init --table {table}`"
            ),
        ),
        StoreError::Failed {
            kind: Trouble::Other,
            code,
            message,
        } if code == WRONG_KEY || (code == "Validation" && message.contains("key")) => {
            (ExitCode::Refused, another_table(table))
        }
        StoreError::Failed {
            kind: Trouble::Other,
            code,
            ..
        } if code == WRONG_SERVICE => (
            ExitCode::Refused,
            wrong_service("DynamoDB", "AWS_ENDPOINT_URL_DYNAMODB"),
        ),
        StoreError::Failed {
            kind: Trouble::Other,
            code,
            message,
        } => (
            ExitCode::Refused,
            format!("the table '{table}' cannot be used ({code}): {message}"),
        ),
        StoreError::Failed { code, .. } => (
            ExitCode::Unavailable,
            format!(
                "DynamoDB cannot be reached for the table '{table}' ({code}): check endpoint and network, then start again"
            ),
        ),
        StoreError::Conflict(_) => (
            ExitCode::Failed,
            format!("the table '{table}' answered with a conflict to a read"),
        ),
    };
    Failure::new(exit, line)
}

/// Looks a queue up by its name or URL and reads its attributes.
///
/// # Errors
/// See [`queue_failure`].
pub async fn describe(
    clients: &Clients,
    role: &str,
    queue: &QueueRef,
) -> Result<QueueFacts, Failure> {
    let facts = clients
        .describe_queue(said(queue))
        .await
        .map_err(|error| queue_failure(role, queue, &error))?;
    Ok(QueueFacts {
        url: facts.url,
        arn: facts.arn,
        fifo: facts.fifo,
        content_based_dedup: facts.content_based_dedup,
        delay_s: facts.delay_s,
        visibility_s: facts.visibility_s,
        max_receive_count: facts.max_receive_count,
        dead_letter_arn: facts.dead_letter_arn,
        max_message_bytes: u32::try_from(facts.max_message_bytes).unwrap_or(u32::MAX),
        retention_s: facts.retention_s,
        kms: facts.kms.is_some(),
    })
}

/// As [`describe`], for a queue that a route may do without.
///
/// # Errors
/// See [`queue_failure`].
pub async fn describe_optional(
    clients: &Clients,
    role: &str,
    queue: Option<&QueueRef>,
) -> Result<Option<QueueFacts>, Failure> {
    match queue {
        Some(queue) => describe(clients, role, queue).await.map(Some),
        None => Ok(None),
    }
}

/// Looks whether the table can be used.
///
/// # Errors
/// The line that says why not.
pub async fn check_table(clients: &Clients, table: &str) -> Result<(), Failure> {
    let facts = clients
        .describe_table(table)
        .await
        .map_err(|error| table_failure(table, &error))?;
    let refused = |line: String| Err(Failure::new(ExitCode::Refused, line));
    match facts {
        None => refused(format!(
            "the table '{table}' does not exist: check its name, the account and the region (AWS_REGION), or create it with `sqs-drain init --table {table}`"
        )),
        Some(facts) if !facts.keyed => refused(another_table(table)),
        Some(facts) if !facts.active => refused(format!(
            "the table '{table}' is not active ({}): wait until it is",
            facts.status
        )),
        Some(facts) => {
            if facts.expires == Some(false) {
                tracing::warn!(
                    table,
                    "items do not expire: switch TTL on for the attribute expires_at (`sqs-drain init --table {table}` does)"
                );
            }
            Ok(())
        }
    }
}

/// Looks at the queues and the table of a route and puts its drain together.
///
/// # Errors
/// A [`Failure`] with the line that says what is wrong: exit 2 for settings, 7 when AWS cannot be reached.
pub async fn connect(
    aws: &Aws,
    process: &ProcessPlan,
    route: &RoutePlan,
) -> Result<Connected, Failure> {
    connect_inner(aws, process, route)
        .await
        .map_err(|failure| match route.name.as_str() {
            "default" => failure,
            name => Failure::new(failure.exit, format!("route '{name}': {}", failure.line)),
        })
}

async fn connect_inner(
    aws: &Aws,
    process: &ProcessPlan,
    route: &RoutePlan,
) -> Result<Connected, Failure> {
    let clients = clients_of(aws, route);
    let source = describe(&clients, "source", &route.from).await?;
    let mut sinks = Vec::new();
    for to in &route.to {
        sinks.push(describe(&clients, "destination", to).await?);
    }
    let hold = describe_optional(&clients, "hold", route.hold()).await?;
    let reject = describe_optional(&clients, "reject", route.reject.as_ref()).await?;
    for warning in check_queues(route, &source, &sinks, hold.as_ref(), reject.as_ref())? {
        tracing::warn!(route = %route.name, "{warning}");
    }
    let store = match &route.journal {
        plan::Journal::Table(table) => {
            check_table(&clients, table).await?;
            Some(Rc::new(clients.table(table)))
        }
        plan::Journal::None => {
            tracing::warn!(
                route = %route.name,
                "without a journal: a crash leaves no list of what may have been sent twice, the rate is divided by the number of shards, and nothing can be resumed or looked up"
            );
            None
        }
    };
    let source_queue = Rc::new(clients.queue(&source.url));
    let counts = source_queue
        .counts()
        .await
        .map_err(|error| queue_failure("source", &route.from, &error))?;
    let queue = |facts: &QueueFacts| Rc::new(clients.queue(&facts.url));
    let wiring = Wiring {
        source: source_queue,
        sinks: sinks.iter().map(queue).collect(),
        reject: reject.as_ref().map(queue),
        hold: hold.as_ref().map(queue),
        store,
        clock: Rc::new(aws.clock()),
    };
    let settings = settings(
        process,
        route,
        &source,
        &sinks,
        hold.as_ref(),
        reject.as_ref(),
    );
    Ok(Connected {
        wiring,
        settings,
        clients,
        counts,
        table: match &route.journal {
            plan::Journal::Table(table) => Some(table.clone()),
            plan::Journal::None => None,
        },
    })
}

fn destination(facts: &QueueFacts) -> Destination {
    Destination {
        name: facts
            .url
            .rsplit('/')
            .next()
            .unwrap_or(&facts.url)
            .to_owned(),
        fifo: facts.fifo,
        delay: Duration::from_secs(u64::from(facts.delay_s)),
        // A batch's limit does not follow the queue's own MaximumMessageSize, which is a message's.
        batch_bytes: BATCH_BYTES,
    }
}

/// The settings of a drain from a route and the facts of its queues.
pub fn settings(
    process: &ProcessPlan,
    route: &RoutePlan,
    source: &QueueFacts,
    sinks: &[QueueFacts],
    hold: Option<&QueueFacts>,
    reject: Option<&QueueFacts>,
) -> Settings {
    let arns = |list: &[QueueFacts]| list.iter().map(|q| q.arn.clone()).collect::<Vec<_>>();
    let delivery = match &route.delivery {
        plan::Delivery::AtLeastOnce => Delivery::AtLeastOnce,
        plan::Delivery::AtMostOnce { .. } => Delivery::AtMostOnce,
    };
    let some = |texts: Vec<String>| (!texts.is_empty()).then_some(texts);
    // What all processes of a run must have in common, in an order that does not change.
    let fingerprint = serde_json::json!({
        "--to": arns(sinks),
        "--hold": hold.map(|q| &q.arn),
        "--reject": reject.map(|q| &q.arn),
        "--delivery": match delivery {
            Delivery::AtLeastOnce => "at-least-once",
            Delivery::AtMostOnce => "at-most-once",
        },
        "--window": route.window.spans(),
        "--zone": route.window.zone_that_counts(),
        "--holidays": some(route.window.holiday_dates()),
        "--holiday-windows": some(route.window.holiday_spans()),
        "--rate": route.rate,
        "--burst": route.burst,
        "--group-from": match route.group_from() {
            plan::GroupFrom::Source => "source".to_owned(),
            plan::GroupFrom::Id => "id".to_owned(),
            plan::GroupFrom::Attribute(name) => format!("attribute:{name}"),
            plan::GroupFrom::Constant(text) => format!("constant:{text}"),
        },
        "--deduplication-id": match route.deduplication_id {
            plan::DeduplicationId::MessageId => "message-id",
            plan::DeduplicationId::Original => "original",
        },
        (LEASE): lease_in_words(route.timings.lease),
    })
    .to_string();
    let t = &route.timings;
    Settings {
        route: route.name.clone(),
        run_id: route.run_id.clone(),
        shard: process.shard.index,
        shards: process.shard.of,
        host: host(),
        fingerprint,
        source: source_name(&source.arn),
        source_fifo: source.fifo,
        destinations: sinks.iter().map(destination).collect(),
        reject: reject.map(destination),
        hold: hold.map(destination),
        window: route.window.clone(),
        rate: route.rate,
        burst: route.burst,
        delivery,
        cutoff: match route.cutoff {
            plan::Cutoff::RunStart => Cutoff::RunStart,
            plan::Cutoff::None => Cutoff::None,
            plan::Cutoff::At(at) => Cutoff::At(at),
        },
        start_within: route.start_within,
        wait_open: route.wait_open,
        group_from: match route.group_from() {
            plan::GroupFrom::Source => GroupFrom::Source,
            plan::GroupFrom::Id => GroupFrom::MessageId,
            plan::GroupFrom::Attribute(name) => GroupFrom::Attribute(name),
            plan::GroupFrom::Constant(text) => GroupFrom::Constant(text),
        },
        original_deduplication: route.deduplication_id == plan::DeduplicationId::Original,
        lanes: lanes(route),
        page: route.page,
        timings: Timings {
            visibility: t.visibility,
            send_timeout: t.send_timeout,
            table_timeout: t.table_timeout,
            margin: t.margin,
            heartbeat: t.heartbeat,
            lease: t.lease,
            poll: t.poll,
            grace: process.grace,
            settle: t.settle / SETTLE_CHECKS,
            settle_checks: SETTLE_CHECKS,
            cutoff_quiet: Duration::from_secs(60),
        },
        rules: Rules::ALL,
    }
}

/// How many looks at the counts of an empty queue make it settled.
const SETTLE_CHECKS: u32 = 3;

/// A rate needs no more lanes than it takes to send it: each lane moves hundreds of messages a second.
pub fn lanes(route: &RoutePlan) -> usize {
    match route.rate {
        Some(rate) => route.lanes.min((rate / 50.0).ceil() as usize).max(1),
        None => route.lanes,
    }
}

/// The host's word for itself: what a container or machine is called.
fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .unwrap_or_default()
}
