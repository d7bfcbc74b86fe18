//! Which destination a message goes to, and what its copy carries: the same whoever sends it, a lane or somebody by hand.

use std::borrow::Cow;

use super::settings::{Destination, GroupFrom, Settings};
use crate::message::{Id, Message, Outgoing, Value};

/// The destination of a message, as its place among the settings' destinations: it follows from the group or the id, so that a
/// retry goes to the same one.
pub fn destination_of(settings: &Settings, message: &Message) -> usize {
    let n = settings.destinations.len();
    if n <= 1 {
        return 0;
    }
    let id = match &message.group_id {
        Some(group) => Id::of(&format!("group {group}")),
        None => message.id,
    };
    let mut head = [0; 8];
    head.copy_from_slice(&id.0[..8]);
    (u64::from_be_bytes(head) % n as u64) as usize
}

/// The copy of a message towards a queue. `group`: see [`group_of`].
pub fn outgoing<'a>(
    settings: &Settings,
    facts: &Destination,
    message: &'a Message,
    group: &'a str,
) -> Outgoing<'a> {
    if !facts.fifo {
        return Outgoing {
            message,
            // Fair queues: a standard queue's messages may have a group id too.
            group_id: message.group_id.as_deref(),
            deduplication_id: None,
        };
    }
    let original = message.deduplication_id.as_deref();
    Outgoing {
        message,
        group_id: Some(group),
        // Two messages that once shared a deduplication id are both owed, so the id is the source message's own.
        deduplication_id: if settings.original_deduplication {
            original.or(Some(&message.message_id))
        } else {
            Some(&message.message_id)
        },
    }
}

/// The group in which a message's order must be kept towards a queue.
pub fn group_of<'a>(
    settings: &'a Settings,
    facts: &Destination,
    message: &'a Message,
) -> Cow<'a, str> {
    let own = message.group_id.as_deref();
    // From a FIFO source the order that counts is the source's.
    if settings.source_fifo || !facts.fifo {
        return own.unwrap_or(&message.message_id).into();
    }
    match &settings.group_from {
        GroupFrom::Source => own.unwrap_or(&message.message_id).into(),
        GroupFrom::MessageId => message.message_id.as_str().into(),
        GroupFrom::Constant(text) => text.as_str().into(),
        GroupFrom::Attribute(name) => message
            .attributes
            .iter()
            .find(|a| a.name == *name)
            .and_then(|a| match &a.value {
                Value::Text(text) => Some(text.as_str()),
                Value::Binary(_) => None,
            })
            .unwrap_or(&message.message_id)
            .into(),
    }
}
