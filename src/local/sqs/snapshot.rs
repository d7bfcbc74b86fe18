//! The queues on disk: written whole at a clean shutdown, read at start, one JSON line for each queue and each message.
//!
//! What that gives up: a server that is killed comes back as it was at its last clean shutdown. Deduplication ids, purge
//! times and the record of sends are not kept.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::attributes::Settings;
use super::engine::{Engine, arn};
use super::message::{Attribute, Content, NewMessage, Value};
use super::queue::{Message, Queue, State};

/// The snapshot's file inside the data directory.
pub const FILE: &str = "sqs.jsonl";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Queue(SavedQueue),
    Message(Box<SavedMessage>),
}

#[derive(Serialize, Deserialize)]
struct SavedQueue {
    name: String,
    number: u64,
    attributes: BTreeMap<String, String>,
    tags: BTreeMap<String, String>,
    created_ms: u64,
    modified_ms: u64,
}

/// A message of the queue above it.
#[derive(Serialize, Deserialize)]
struct SavedMessage {
    seq: u64,
    id: String,
    body: String,
    attributes: Vec<SavedAttribute>,
    trace_header: Option<String>,
    group_id: Option<String>,
    deduplication_id: Option<String>,
    sent_ms: u64,
    first_receive_ms: Option<u64>,
    last_receive_ms: u64,
    receive_count: u32,
    sequence: Option<u64>,
    dead_letter_source: Option<String>,
    in_flight_until_ms: Option<u64>,
    delayed_until_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct SavedAttribute {
    name: String,
    data_type: String,
    text: Option<String>,
    base64: Option<String>,
}

/// Writes all queues to the directory, replacing what was there only when the new file is whole.
///
/// # Errors
/// Whatever writing meets.
pub fn write(engine: &Engine, dir: &Path) -> io::Result<()> {
    let whole = dir.join(FILE);
    let part = dir.join(format!("{FILE}.part"));
    let mut out = BufWriter::new(File::create(&part)?);
    for queue in engine.queues() {
        line(&mut out, &Line::Queue(save_queue(queue)))?;
        for (seq, message) in queue.in_order() {
            line(
                &mut out,
                &Line::Message(Box::new(save_message(seq, message))),
            )?;
        }
    }
    out.into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .sync_all()?;
    std::fs::rename(part, whole)
}

fn line(out: &mut impl Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

fn save_queue(queue: &Queue) -> SavedQueue {
    SavedQueue {
        name: queue.name.clone(),
        number: queue.number,
        attributes: queue.settings.show(),
        tags: queue.tags.clone(),
        created_ms: queue.created_ms,
        modified_ms: queue.modified_ms,
    }
}

fn save_message(seq: u64, message: &Message) -> SavedMessage {
    let content = &*message.content;
    let save = |a: &Attribute| {
        let (text, base64) = match &a.value {
            Value::Text(text) => (Some(text.clone()), None),
            Value::Binary(bytes) => (None, Some(aws_smithy_types::base64::encode(bytes))),
        };
        SavedAttribute {
            name: a.name.clone(),
            data_type: a.data_type.clone(),
            text,
            base64,
        }
    };
    let (in_flight_until_ms, delayed_until_ms) = match message.state {
        State::Visible => (None, None),
        State::InFlight { until_ms } => (Some(until_ms), None),
        State::Delayed { until_ms } => (None, Some(until_ms)),
    };
    SavedMessage {
        seq,
        id: message.id.to_string(),
        body: content.body.clone(),
        attributes: content.attributes.iter().map(save).collect(),
        trace_header: content.trace_header.clone(),
        group_id: content.group_id.as_deref().map(str::to_owned),
        deduplication_id: content.deduplication_id.clone(),
        sent_ms: message.sent_ms,
        first_receive_ms: message.first_receive_ms,
        last_receive_ms: message.last_receive_ms,
        receive_count: message.receive_count,
        sequence: message.sequence,
        dead_letter_source: message.dead_letter_source.as_deref().map(str::to_owned),
        in_flight_until_ms,
        delayed_until_ms,
    }
}

/// Reads the directory's snapshot into an engine without queues; no snapshot is none.
///
/// # Errors
/// Whatever reading meets; a file that is no snapshot is `InvalidData`.
pub fn read(engine: &mut Engine, dir: &Path) -> io::Result<()> {
    let file = match File::open(dir.join(FILE)) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    let mut queue: Option<Queue> = None;
    for (number, text) in BufReader::new(file).lines().enumerate() {
        let text = text?;
        let bad = |what: &str| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("line {}: {what}", number + 1),
            )
        };
        match serde_json::from_str(&text).map_err(|_| bad("not a line of a snapshot"))? {
            Line::Queue(saved) => {
                if let Some(done) =
                    queue.replace(load_queue(saved).ok_or_else(|| bad("bad attributes"))?)
                {
                    engine.restore(done);
                }
            }
            Line::Message(saved) => {
                let seq = saved.seq;
                let message = load_message(*saved).ok_or_else(|| bad("a bad message"))?;
                queue
                    .as_mut()
                    .ok_or_else(|| bad("a message without a queue"))?
                    .insert(seq, message);
            }
        }
    }
    if let Some(done) = queue {
        engine.restore(done);
    }
    Ok(())
}

fn load_queue(saved: SavedQueue) -> Option<Queue> {
    let settings = Settings::create(&saved.attributes).ok()?;
    let arn = arn(&saved.name);
    let mut queue = Queue::new(saved.name, saved.number, arn, settings, saved.created_ms);
    queue.modified_ms = saved.modified_ms;
    queue.tags = saved.tags;
    Some(queue)
}

fn load_message(saved: SavedMessage) -> Option<Message> {
    let load = |a: SavedAttribute| {
        let value = match (a.text, a.base64) {
            (Some(text), None) => Value::Text(text),
            (None, Some(base64)) => Value::Binary(aws_smithy_types::base64::decode(base64).ok()?),
            _ => return None,
        };
        Some(Attribute {
            name: a.name,
            data_type: a.data_type,
            value,
        })
    };
    let new = NewMessage {
        body: saved.body,
        attributes: saved
            .attributes
            .into_iter()
            .map(load)
            .collect::<Option<_>>()?,
        trace_header: saved.trace_header,
        group_id: saved.group_id,
        deduplication_id: None,
        delay_seconds: None,
    };
    Some(Message {
        content: Arc::new(Content::from_checked(new, saved.deduplication_id)),
        id: saved.id.parse().ok()?,
        sent_ms: saved.sent_ms,
        first_receive_ms: saved.first_receive_ms,
        last_receive_ms: saved.last_receive_ms,
        receive_count: saved.receive_count,
        sequence: saved.sequence,
        dead_letter_source: saved.dead_letter_source.map(Into::into),
        state: match (saved.in_flight_until_ms, saved.delayed_until_ms) {
            (Some(until_ms), _) => State::InFlight { until_ms },
            (None, Some(until_ms)) => State::Delayed { until_ms },
            (None, None) => State::Visible,
        },
    })
}
