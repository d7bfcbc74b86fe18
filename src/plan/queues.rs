//! What the queues themselves forbid: by their names before anything is asked,
//! by their attributes at preflight.

use std::time::Duration;

use super::timings::show;
use super::{DeduplicationId, QueueRef, Refusal, RoutePlan, Warning};

/// With fewer receives than this before a message goes to the dead-letter
/// queue, a few restarts are enough to send it there.
const COMFORTABLE_RECEIVES: u32 = 5;

/// What is known of a queue before the first receive: its URL and the
/// attributes that decide something (`GetQueueAttributes`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueFacts {
    /// Its URL.
    pub url: String,
    /// `QueueArn`.
    pub arn: String,
    /// `FifoQueue`.
    pub fifo: bool,
    /// `ContentBasedDeduplication`.
    pub content_based_dedup: bool,
    /// `DelaySeconds`.
    pub delay_s: u32,
    /// `VisibilityTimeout`, in seconds.
    pub visibility_s: u32,
    /// `maxReceiveCount` of its `RedrivePolicy`.
    pub max_receive_count: Option<u32>,
    /// `deadLetterTargetArn` of its `RedrivePolicy`.
    pub dead_letter_arn: Option<String>,
    /// `MaximumMessageSize`.
    pub max_message_bytes: u32,
    /// `MessageRetentionPeriod`, in seconds.
    pub retention_s: u32,
    /// Whether it is encrypted with a KMS key.
    pub kms: bool,
}

impl QueueFacts {
    fn name(&self) -> &str {
        self.arn.rsplit(':').next().unwrap_or(&self.arn)
    }
}

/// What a queue is to its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Destination,
    Hold,
    Reject,
}

impl Role {
    fn words(self) -> &'static str {
        match self {
            Role::Destination => "destination",
            Role::Hold => "hold queue",
            Role::Reject => "reject queue",
        }
    }

    fn flag(self) -> &'static str {
        match self {
            Role::Destination => "--to",
            Role::Hold => "--hold",
            Role::Reject => "--reject",
        }
    }
}

/// Checks a route against its queues' attributes, before the first receive.
/// `destinations` are those of the route, in its order.
///
/// # Errors
/// A [`Refusal`] for the first thing that would lose, double or block messages:
/// one queue in two roles, FIFO and standard mixed without a word about it,
/// dead-letter queues in the way, a delay longer than the window.
pub fn check_queues(
    route: &RoutePlan,
    source: &QueueFacts,
    destinations: &[QueueFacts],
    hold: Option<&QueueFacts>,
    reject: Option<&QueueFacts>,
) -> Result<Vec<Warning>, Refusal> {
    let mut targets: Vec<(Role, &QueueFacts)> = destinations
        .iter()
        .map(|facts| (Role::Destination, facts))
        .collect();
    targets.extend(hold.map(|facts| (Role::Hold, facts)));
    targets.extend(reject.map(|facts| (Role::Reject, facts)));

    check_same_by_arn(source, &targets)?;
    for (role, facts) in &targets {
        let (name, fifo) = (facts.name(), facts.fifo);
        check_fifo(route, (source.name(), source.fifo), *role, (name, fifo))?;
    }
    let mut warnings = Vec::new();
    check_dead_letters(source, &targets, &mut warnings)?;
    check_delays(route, destinations)?;
    for (role, facts) in &targets {
        if facts.max_message_bytes < source.max_message_bytes {
            warnings.push(Warning::new(format!(
                "the {} {} takes messages of at most {} bytes, the source {} up to {}: larger ones will be refused one by one",
                role.words(),
                facts.name(),
                facts.max_message_bytes,
                source.name(),
                source.max_message_bytes
            )));
        }
    }
    let retention = Duration::from_secs(source.retention_s.into());
    if retention <= route.longest_shut {
        warnings.push(Warning::new(format!(
            "the source {} keeps messages for {}, and the window stays shut for up to {}: the oldest would expire unsent; raise its MessageRetentionPeriod",
            source.name(),
            show(retention),
            show(route.longest_shut)
        )));
    }
    Ok(warnings)
}

fn check_same_by_arn(source: &QueueFacts, targets: &[(Role, &QueueFacts)]) -> Result<(), Refusal> {
    for (index, (role, facts)) in targets.iter().enumerate() {
        if facts.arn == source.arn {
            return Err(same_as_source(facts.name(), *role));
        }
        for (other_role, other) in &targets[..index] {
            if other.arn == facts.arn {
                check_pair(facts.name(), *other_role, *role)?;
            }
        }
    }
    Ok(())
}

/// The same rule as [`check_queues`] has by ARN, as far as names can tell.
pub(super) fn check_same_by_name(route: &RoutePlan) -> Result<(), Refusal> {
    let targets = targets_of(route);
    for (index, (role, queue)) in targets.iter().enumerate() {
        if queue.looks_like(&route.from) {
            return Err(same_as_source(queue.name(), *role));
        }
        for (other_role, other) in &targets[..index] {
            if other.looks_like(queue) {
                check_pair(queue.name(), *other_role, *role)?;
            }
        }
    }
    Ok(())
}

/// FIFO queues can be told by their names.
pub(super) fn check_fifo_by_name(route: &RoutePlan) -> Result<Vec<Warning>, Refusal> {
    let source = (route.from.name(), route.from.is_fifo());
    let targets = targets_of(route);
    for (role, queue) in &targets {
        check_fifo(route, source, *role, (queue.name(), queue.is_fifo()))?;
    }
    let mut warnings = Vec::new();
    if !targets.iter().any(|(_, queue)| queue.is_fifo()) {
        if route.group_from_named.is_some() {
            warnings.push(Warning::new(
                "--group-from has no effect: no queue that is sent to is FIFO",
            ));
        }
        if route.deduplication_id == DeduplicationId::Original {
            warnings.push(Warning::new(
                "--deduplication-id has no effect: no queue that is sent to is FIFO",
            ));
        }
    }
    Ok(warnings)
}

fn targets_of(route: &RoutePlan) -> Vec<(Role, &QueueRef)> {
    let mut targets: Vec<(Role, &QueueRef)> = route
        .to
        .iter()
        .map(|queue| (Role::Destination, queue))
        .collect();
    targets.extend(route.hold().map(|queue| (Role::Hold, queue)));
    targets.extend(route.reject.as_ref().map(|queue| (Role::Reject, queue)));
    targets
}

fn same_as_source(name: &str, role: Role) -> Refusal {
    Refusal::new(
        format!("{name} is both the source and the {}", role.words()),
        format!(
            "name another queue with {} (two queues of one name: write both as URLs)",
            role.flag()
        ),
    )
}

/// Two targets that are one queue. Held and rejected messages do not lie together: whoever settles the held ones would find the
/// rejected ones among them.
fn check_pair(name: &str, one: Role, other: Role) -> Result<(), Refusal> {
    match (one, other) {
        (Role::Destination, Role::Destination) => Err(Refusal::new(
            format!("the destination {name} is named twice"),
            "name it once",
        )),
        (Role::Destination, parked) => Err(Refusal::new(
            format!(
                "{name} is both a destination and the {}, so what is parked would be delivered",
                parked.words()
            ),
            format!(
                "name another queue with {} (two queues of one name: write both as URLs)",
                parked.flag()
            ),
        )),
        (one, other) => Err(Refusal::new(
            format!(
                "{name} is both the {} and the {}",
                one.words(),
                other.words()
            ),
            format!(
                "name another queue with {} (two queues of one name: write both as URLs)",
                other.flag()
            ),
        )),
    }
}

/// Whether a source may be drained into a target, FIFO or not.
fn check_fifo(
    route: &RoutePlan,
    (source, source_fifo): (&str, bool),
    role: Role,
    (target, target_fifo): (&str, bool),
) -> Result<(), Refusal> {
    let words = role.words();
    if source_fifo && !target_fifo && !route.allow_fifo_to_standard {
        return Err(Refusal::new(
            format!(
                "the source {source} is FIFO and the {words} {target} is not, so order would be lost"
            ),
            format!(
                "name a FIFO queue with {}, or add --allow-fifo-to-standard",
                role.flag()
            ),
        ));
    }
    if !source_fifo && target_fifo && route.group_from_named.is_none() {
        return Err(Refusal::new(
            format!(
                "the {words} {target} is FIFO and the source {source} is not, so messages need a group"
            ),
            "say where it comes from with --group-from id, attribute:NAME, constant:TEXT or source",
        ));
    }
    if !source_fifo && target_fifo && route.deduplication_id == DeduplicationId::Original {
        return Err(Refusal::new(
            format!(
                "--deduplication-id original: messages of the standard queue {source} have none"
            ),
            "write --deduplication-id message-id",
        ));
    }
    Ok(())
}

fn check_dead_letters(
    source: &QueueFacts,
    targets: &[(Role, &QueueFacts)],
    warnings: &mut Vec<Warning>,
) -> Result<(), Refusal> {
    match source.max_receive_count {
        Some(0..=1) => {
            return Err(Refusal::new(
                format!(
                    "the source {} has maxReceiveCount 1, so a message received a second time goes to its dead-letter queue and no restart can deliver it",
                    source.name()
                ),
                format!("raise it to {COMFORTABLE_RECEIVES} or more"),
            ));
        }
        Some(count) if count < COMFORTABLE_RECEIVES => warnings.push(Warning::new(format!(
            "the source {} has maxReceiveCount {count}: a few restarts send messages to its dead-letter queue; raise it to {COMFORTABLE_RECEIVES} or more",
            source.name()
        ))),
        _ => {}
    }
    for (role, facts) in targets {
        if *role == Role::Destination && source.dead_letter_arn.as_ref() == Some(&facts.arn) {
            return Err(Refusal::new(
                format!(
                    "the destination {} is the dead-letter queue of the source {}, so SQS would move messages there outside the window and beside the count",
                    facts.name(),
                    source.name()
                ),
                "give the source another dead-letter queue",
            ));
        }
        if facts.dead_letter_arn.as_ref() == Some(&source.arn) {
            warnings.push(Warning::new(format!(
                "the source {} is the dead-letter queue of the {} {}: a message that fails there comes back and is moved again",
                source.name(),
                role.words(),
                facts.name()
            )));
        }
    }
    Ok(())
}

/// A delay keeps messages back, so the last send has to be that much earlier.
fn check_delays(route: &RoutePlan, destinations: &[QueueFacts]) -> Result<(), Refusal> {
    let Some(longest) = route.window.longest_opening() else {
        return Ok(());
    };
    for facts in destinations {
        let delay = Duration::from_secs(facts.delay_s.into());
        let margin = route.closing_margin(delay);
        if longest <= margin {
            return Err(Refusal::new(
                format!(
                    "the destination {} delays messages by {}, and with margin and send timeout that is {} of a window that is open for {} at most",
                    facts.name(),
                    show(delay),
                    show(margin),
                    show(longest)
                ),
                "lower its DelaySeconds or write a longer window",
            ));
        }
    }
    Ok(())
}
