//! From the text of a value to what it means.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};

use super::{DeduplicationId, GroupFrom, LogFormat, LogLevel, Progress, QueueRef};
use crate::window::Window;

/// A value's error: what is wrong with it and what to write. The caller knows
/// where it was written.
pub(super) struct Wrong {
    /// As in `--rate fast IS NOT A RATE`.
    pub(super) is: String,
    /// What to write.
    pub(super) change: String,
}

impl Wrong {
    pub(super) fn new(is: impl Into<String>, change: impl Into<String>) -> Wrong {
        Wrong {
            is: is.into(),
            change: change.into(),
        }
    }
}

/// A length of time: `90s`, `1500ms`, `5m`, `1h`, `2d`; a bare number is
/// seconds. A fraction is allowed. `None` for anything else, for a negative
/// one and for one of more than a year.
pub fn parse_duration(text: &str) -> Option<Duration> {
    const LONGEST_S: f64 = 366.0 * 86_400.0;
    let text = text.trim();
    let unit_at = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let unit_s = match unit {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    let seconds = parse_number(number.trim())? * unit_s;
    if !(0.0..=LONGEST_S).contains(&seconds) {
        return None;
    }
    // To the millisecond, which is as fine as a length can be written.
    Some(Duration::from_millis((seconds * 1000.0).round() as u64))
}

/// A decimal number; not `inf`, `nan` or `1e9`, which `f64` would take.
fn parse_number(text: &str) -> Option<f64> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'-');
    if !plain {
        return None;
    }
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// The least rate, in messages a second: a rate is kept in thousandths.
pub(super) const LEAST_RATE: f64 = 0.001;

/// What is wrong with a text that is no rate.
pub const NOT_A_RATE: &str = "is not a number of messages a second, 0.001 or more";

/// What to write for a rate.
pub const RATE_FORM: &str = "write one such as 500 or 0.5, or none for no limit";

/// A rate: a number of messages a second, [`LEAST_RATE`] or more, or `none`
/// for no limit. The outer `None` is for anything else.
pub fn parse_rate(text: &str) -> Option<Option<f64>> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("none") {
        return Some(None);
    }
    parse_number(text)
        .filter(|rate| *rate >= LEAST_RATE)
        .map(Some)
}

/// A point in time: `2026-11-23T08:00:00+09:00`, `...Z`, or without an offset
/// in the window's zone (`2026-11-23T08:00`, seconds optional, a space will do).
pub fn parse_instant(text: &str, window: &Window) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.to_utc());
    }
    // Without seconds, as run ids have it.
    let offset = text.strip_suffix('Z').map(|civil| format!("{civil}+00:00"));
    let with_offset = offset.as_deref().unwrap_or(text);
    if let Ok(at) = DateTime::parse_from_str(with_offset, "%Y-%m-%dT%H:%M%:z") {
        return Some(at.to_utc());
    }
    let forms = [
        "%Y-%m-%dT%H:%M:%S",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%d %H:%M",
    ];
    forms
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .map(|civil| window.instant_of(civil))
}

impl QueueRef {
    /// Reads a queue's URL or name.
    pub(super) fn parse(text: &str) -> Result<QueueRef, Wrong> {
        let text = text.trim();
        let form = "write the queue's name or its URL";
        if text.starts_with("http://") || text.starts_with("https://") {
            let queue = QueueRef::Url(text.trim_end_matches('/').to_owned());
            let has_path = text.split('/').filter(|part| !part.is_empty()).count() >= 3;
            return if has_path && valid_queue_name(queue.name()) {
                Ok(queue)
            } else {
                Err(Wrong::new("is not the URL of a queue", form))
            };
        }
        if text.starts_with("arn:") {
            return Err(Wrong::new("is an ARN", form));
        }
        if !valid_queue_name(text) {
            return Err(Wrong::new(
                "is not a queue's name (1 to 80 letters, digits, - and _, and .fifo at the end)",
                form,
            ));
        }
        Ok(QueueRef::Name(text.to_owned()))
    }

    /// The queue's name, which is the last part of its URL.
    pub fn name(&self) -> &str {
        match self {
            QueueRef::Url(url) => url.rsplit('/').next().unwrap_or(url),
            QueueRef::Name(name) => name,
        }
    }

    /// Whether it is a FIFO queue: only their names end in `.fifo` (SQS rule).
    pub fn is_fifo(&self) -> bool {
        self.name().ends_with(".fifo")
    }

    /// Whether both texts may well mean the same queue: the same URL, the same
    /// name, or a URL that ends in the other's name.
    pub fn looks_like(&self, other: &QueueRef) -> bool {
        match (self, other) {
            (QueueRef::Url(a), QueueRef::Url(b)) => same_url(a, b),
            _ => self.name() == other.name(),
        }
    }
}

/// Scheme and host are the same in any case, a path is not.
fn same_url(a: &str, b: &str) -> bool {
    let parts = |url: &str| {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        (
            scheme.to_ascii_lowercase(),
            host.to_ascii_lowercase(),
            path.to_owned(),
        )
    };
    parts(a) == parts(b)
}

impl std::fmt::Display for QueueRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            QueueRef::Url(text) | QueueRef::Name(text) => f.write_str(text),
        }
    }
}

fn valid_queue_name(name: &str) -> bool {
    let stem = name.strip_suffix(".fifo").unwrap_or(name);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !stem.is_empty() && name.len() <= 80 && stem.bytes().all(allowed)
}

/// A DynamoDB table's name (3 to 255 letters, digits, `_`, `-`, `.`) or ARN.
pub(super) fn table(text: &str) -> Result<String, Wrong> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let named = (3..=255).contains(&text.len()) && text.bytes().all(allowed);
    if named || (text.starts_with("arn:") && text.contains(":table/")) {
        Ok(text.to_owned())
    } else {
        Err(Wrong::new(
            "is not a DynamoDB table's name",
            "write 3 to 255 letters, digits, -, _ or . (or the table's ARN)",
        ))
    }
}

/// A route's name; it is part of a run's id.
pub(super) fn valid_route_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}

/// A run's id as somebody gave it; it becomes part of a key.
pub(super) fn run_id(text: &str) -> Result<String, Wrong> {
    let allowed = |c: char| c.is_ascii_graphic() && c != '#';
    if (1..=200).contains(&text.len()) && text.chars().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err(Wrong::new(
            "is not a run's id",
            "write 1 to 200 letters, digits and signs without spaces and #",
        ))
    }
}

/// `source`, `id`, `attribute:NAME` or `constant:TEXT`.
pub(super) fn group_from(text: &str) -> Result<GroupFrom, Wrong> {
    match text.split_once(':') {
        None if text == "source" => Ok(GroupFrom::Source),
        None if text == "id" => Ok(GroupFrom::Id),
        Some(("attribute", name)) if !name.is_empty() && name.len() <= 256 => {
            Ok(GroupFrom::Attribute(name.to_owned()))
        }
        // SQS takes 1 to 128 printable ASCII characters as a group id.
        Some(("constant", group))
            if (1..=128).contains(&group.len()) && group.chars().all(|c| c.is_ascii_graphic()) =>
        {
            Ok(GroupFrom::Constant(group.to_owned()))
        }
        _ => Err(Wrong::new(
            "is not where a group id comes from",
            "write source, id, attribute:NAME or constant:TEXT",
        )),
    }
}

/// One word out of a few.
pub(super) fn choice<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, Wrong> {
    let found = words
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, value)| *value);
    found.ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let change = match known.split_last() {
            Some((last, rest)) if !rest.is_empty() => {
                format!("write {} or {last}", rest.join(", "))
            }
            _ => format!("write {}", known.join("")),
        };
        Wrong::new("is not one of its words", change)
    })
}

pub(super) const PROGRESS: &[(&str, Progress)] = &[
    ("auto", Progress::Auto),
    ("always", Progress::Always),
    ("never", Progress::Never),
];

pub(super) const LOG_FORMAT: &[(&str, LogFormat)] = &[
    ("auto", LogFormat::Auto),
    ("json", LogFormat::Json),
    ("text", LogFormat::Text),
];

pub(super) const LOG_LEVEL: &[(&str, LogLevel)] = &[
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

pub(super) const DEDUPLICATION_ID: &[(&str, DeduplicationId)] = &[
    ("message-id", DeduplicationId::MessageId),
    ("original", DeduplicationId::Original),
];
