//! What the bench compares with: the plainest way to move one queue to another with the AWS SDK, as anyone would write it.
//! Receive, send batch, delete batch; nothing is journalled, nothing is tried again, nothing is paced. It is built with the
//! defaults of the release profile, the system's allocator and tokio's multi-threaded runtime.
//!
//! `bare_loop FROM_URL TO_URL LOOPS` moves until every loop has met an empty receive, and prints one line of JSON.

#![allow(clippy::disallowed_methods, reason = "a bench measures real time")]

use std::error::Error;
use std::time::Instant;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, SendMessageBatchRequestEntry};

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Default)]
struct Done {
    messages: u64,
    receives: u64,
    sends: u64,
    deletes: u64,
    first: Option<Instant>,
    last: Option<Instant>,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, loops] = arguments.as_slice() else {
        return Err("usage: bare_loop FROM_URL TO_URL LOOPS".into());
    };
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let client = Client::new(&config);
    let mut tasks = Vec::new();
    for _ in 0..loops.parse()? {
        tasks.push(tokio::spawn(move_all(
            client.clone(),
            from.clone(),
            to.clone(),
        )));
    }
    let mut sum = Done::default();
    for task in tasks {
        let done = task.await??;
        sum.messages += done.messages;
        sum.receives += done.receives;
        sum.sends += done.sends;
        sum.deletes += done.deletes;
        sum.first = sum.first.into_iter().chain(done.first).min();
        sum.last = sum.last.max(done.last);
    }
    let seconds = match (sum.first, sum.last) {
        (Some(first), Some(last)) => (last - first).as_secs_f64(),
        _ => 0.0,
    };
    println!(
        "{}",
        serde_json::json!({
            "messages": sum.messages,
            "receive": sum.receives,
            "send": sum.sends,
            "delete": sum.deletes,
            "seconds": seconds,
        })
    );
    Ok(())
}

async fn move_all(client: Client, from: String, to: String) -> Result<Done, Failure> {
    let mut done = Done::default();
    loop {
        let received = client
            .receive_message()
            .queue_url(&from)
            .max_number_of_messages(10)
            .wait_time_seconds(1)
            .message_attribute_names("All")
            .send()
            .await?;
        done.receives += 1;
        let messages = received.messages.unwrap_or_default();
        if messages.is_empty() {
            return Ok(done);
        }
        let mut entries = Vec::new();
        let mut receipts = Vec::new();
        for (index, message) in messages.into_iter().enumerate() {
            receipts.push(
                DeleteMessageBatchRequestEntry::builder()
                    .id(index.to_string())
                    .set_receipt_handle(message.receipt_handle)
                    .build()?,
            );
            entries.push(
                SendMessageBatchRequestEntry::builder()
                    .id(index.to_string())
                    .set_message_body(message.body)
                    .set_message_attributes(message.message_attributes)
                    .build()?,
            );
        }
        let count = entries.len() as u64;
        done.first.get_or_insert_with(Instant::now);
        done.last = Some(Instant::now());
        let sent = client
            .send_message_batch()
            .queue_url(&to)
            .set_entries(Some(entries))
            .send()
            .await?;
        done.sends += 1;
        if !sent.failed.is_empty() {
            return Err("an entry was not sent".into());
        }
        let deleted = client
            .delete_message_batch()
            .queue_url(&from)
            .set_entries(Some(receipts))
            .send()
            .await?;
        done.deletes += 1;
        if !deleted.failed.is_empty() {
            return Err("an entry was not deleted".into());
        }
        done.messages += count;
    }
}
