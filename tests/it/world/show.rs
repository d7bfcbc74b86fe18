//! Calls and answers in few words, for the log.

use sqs_drain::message::{Message, ReceiptOutcome, SendOutcome};
use sqs_drain::port::{Change, Datum, Item, Key, QueueError, StoreError, Test, Write};

pub fn origin_of(body: &str) -> &str {
    body.split(' ').next().unwrap_or_default()
}

pub fn show_received(answer: &Result<Vec<Message>, QueueError>) -> String {
    match answer {
        Ok(messages) => {
            let one = |m: &Message| format!("{}x{}", origin_of(&m.body), m.receive_count);
            messages.iter().map(one).collect::<Vec<_>>().join(" ")
        }
        Err(e) => e.code.clone(),
    }
}

pub fn show_receipts(answer: &[ReceiptOutcome]) -> String {
    let one = |o: &ReceiptOutcome| match o {
        ReceiptOutcome::Done => "done".to_owned(),
        ReceiptOutcome::Retry(code) => format!("retry:{code}"),
        ReceiptOutcome::Unknown(code) => format!("unknown:{code}"),
        ReceiptOutcome::Denied(code) => format!("denied:{code}"),
        ReceiptOutcome::Stale(code) => format!("stale:{code}"),
    };
    answer.iter().map(one).collect::<Vec<_>>().join(" ")
}

pub fn show_sent(answer: &[SendOutcome]) -> String {
    let one = |o: &SendOutcome| match o {
        SendOutcome::Accepted { .. } => "accepted".to_owned(),
        SendOutcome::Rejected(code) => format!("rejected:{code}"),
        SendOutcome::Retry(code) => format!("retry:{code}"),
        SendOutcome::Stopped(code) => format!("stopped:{code}"),
        SendOutcome::Unknown(code) => format!("unknown:{code}"),
    };
    answer.iter().map(one).collect::<Vec<_>>().join(" ")
}

pub fn show_stored<T>(answer: &Result<T, StoreError>, show: impl FnOnce(&T) -> String) -> String {
    match answer {
        Ok(value) => show(value),
        Err(StoreError::Conflict(item)) => format!("conflict {}", short_option(item)),
        Err(StoreError::Failed { code, .. }) => code.clone(),
    }
}

/// A long name by its end: ULIDs and UUIDs are told apart by their last characters.
pub fn short_name(name: &str) -> String {
    let words = name.split('#').map(|word| match word.len() {
        0..=20 => word,
        n => word.get(n - 5..).unwrap_or(word),
    });
    words.collect::<Vec<_>>().join("#")
}

pub fn short_key(key: &Key) -> String {
    format!("{}/{}", short_name(&key.pk), short_name(&key.sk))
}

/// An item in few words; what only people read is left out.
pub fn short_item(item: &Item) -> String {
    let told = item.iter().filter(|(name, _)| {
        ![
            "expires_at",
            "at",
            "host",
            "route",
            "source",
            "settings",
            "since",
        ]
        .contains(&name.as_str())
    });
    let one = |(name, datum): (&String, &Datum)| match datum {
        Datum::S(text) => format!("{name}={}", short_name(text)),
        Datum::N(n) => format!("{name}={n}"),
        Datum::B(bytes) if name == "i" => {
            let ids = bytes.chunks(17).map(|entry| match entry {
                [.., a, b, mark] => format!("{a:02x}{b:02x}:{}.{}", mark >> 5, mark & 31),
                _ => "?".into(),
            });
            format!("ids=[{}]", ids.collect::<Vec<_>>().join(" "))
        }
        Datum::B(bytes) => {
            let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
            format!("{name}={:?}", &bytes[..end])
        }
    };
    format!("{{{}}}", told.map(one).collect::<Vec<_>>().join(" "))
}

pub fn short_option(item: &Option<Item>) -> String {
    item.as_ref().map_or_else(|| "none".into(), short_item)
}

pub fn short_write(write: &Write) -> String {
    let change = match &write.change {
        Change::Put(item) => format!("put {}", short_item(item)),
        Change::Update { set, remove } => format!("set {} remove {remove:?}", short_item(set)),
        Change::Delete => "delete".into(),
    };
    let atom = |test: &Test| match test {
        Test::Absent => "absent".into(),
        Test::Exists => "exists".into(),
        Test::Has(name) => format!("has {name}"),
        Test::No(name) => format!("no {name}"),
        Test::Eq(name, datum) => short_item(&Item::from([(name.clone(), datum.clone())])),
        Test::Lt(name, limit) => format!("{name}<{limit}"),
    };
    let any = |tests: &Vec<Test>| tests.iter().map(atom).collect::<Vec<_>>().join("|");
    let when: Vec<String> = write.when.iter().map(any).collect();
    format!(
        "{} {change} when {}",
        short_key(&write.key),
        when.join(" & ")
    )
}
