//! The endpoints in a process of their own (`sqs-drain local`), the two queues messages go back and forth between, and the
//! checkpoint table.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use futures::StreamExt;
use sqs_drain::aws::sqs::Queue;
use sqs_drain::aws::{Aws, Clients, Endpoints, Timeouts};
use sqs_drain::message::{Attribute, BATCH_ENTRIES, Id, Message, Outgoing, SendOutcome, Value};
use sqs_drain::port::{Sink, Source};

use crate::measure::{self, Failure};

/// The checkpoint table's name.
pub const TABLE: &str = "bench";

/// Every message's body, in bytes.
const BODY_BYTES: usize = 1024;

/// How many requests fill a queue at a time.
const FILLING: usize = 32;

/// A running server.
pub struct Server {
    child: Child,
    urls: [String; 2],
    queues: [Queue; 2],
    environment: Vec<(String, String)>,
}

impl Server {
    /// Starts the endpoints with `latency_ms` a request, and makes the queues and the table.
    pub async fn start(binary: &Path, latency_ms: u64) -> Result<Self, Failure> {
        let mut child = Command::new(binary)
            .args(["local", "--port", "0", "--dynamodb-port", "0"])
            .args(["--latency-ms", &latency_ms.to_string()])
            .stderr(Stdio::piped())
            .spawn()?;
        let environment = match exports(&mut child) {
            Ok(environment) => environment,
            Err(error) => {
                child.kill()?;
                child.wait()?;
                return Err(error);
            }
        };
        let get = |name: &str| {
            let found = environment.iter().find(|(n, _)| n == name);
            found
                .map(|(_, value)| value.clone())
                .ok_or_else(|| format!("the server did not say {name}"))
        };
        let endpoints = Endpoints {
            sqs: get("AWS_ENDPOINT_URL_SQS")?,
            dynamodb: get("AWS_ENDPOINT_URL_DYNAMODB")?,
            region: get("AWS_REGION")?,
            access_key_id: get("AWS_ACCESS_KEY_ID")?,
            secret_access_key: get("AWS_SECRET_ACCESS_KEY")?,
        };
        let clients: Clients = Aws::at(&endpoints, Timeouts::default()).await.clients();
        clients.create_table(TABLE).await?;
        let urls = [
            clients.create_queue("one", &[]).await?,
            clients.create_queue("two", &[]).await?,
        ];
        let queues = [clients.queue(&urls[0]), clients.queue(&urls[1])];
        Ok(Self {
            child,
            urls,
            queues,
            environment,
        })
    }

    /// The environment that aims a client at this server.
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// The URL of a queue.
    pub fn url(&self, queue: usize) -> &str {
        &self.urls[queue]
    }

    /// How many messages a queue holds, whatever their state.
    pub async fn count(&self, queue: usize) -> Result<u64, Failure> {
        Ok(self.queues[queue].counts().await?.total())
    }

    /// Brings a queue to `messages`, over HTTP.
    pub async fn fill(&self, queue: usize, messages: u64) -> Result<(), Failure> {
        let missing = messages.saturating_sub(self.count(queue).await?);
        let sink = &self.queues[queue];
        let mut batches = futures::stream::iter((0..missing).step_by(BATCH_ENTRIES))
            .map(|from| async move {
                let to = missing.min(from + BATCH_ENTRIES as u64);
                let messages: Vec<Message> = (from..to).map(message).collect();
                let batch: Vec<Outgoing<'_>> = messages
                    .iter()
                    .map(|message| Outgoing {
                        message,
                        group_id: None,
                        deduplication_id: None,
                    })
                    .collect();
                sink.send(&batch).await
            })
            .buffer_unordered(FILLING);
        while let Some(outcomes) = batches.next().await {
            if let Some(other) = outcomes
                .iter()
                .find(|o| !matches!(o, SendOutcome::Accepted { .. }))
            {
                return Err(format!("filling a queue failed: {other:?}").into());
            }
        }
        Ok(())
    }

    /// The CPU time the server has used so far, in seconds.
    pub fn cpu_s(&self) -> Result<f64, Failure> {
        measure::cpu_of(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the `export NAME=VALUE ...` lines with which `local` says how to reach it; the last one has the credentials.
fn exports(child: &mut Child) -> Result<Vec<(String, String)>, Failure> {
    let stderr = child.stderr.take().ok_or("the server has no stderr")?;
    let mut found = Vec::new();
    for line in BufReader::new(stderr).lines() {
        let line = line?;
        let Some(words) = line.strip_prefix("export ") else {
            continue;
        };
        let pairs = words.split(' ').filter_map(|word| word.split_once('='));
        found.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        if found
            .iter()
            .any(|(name, _)| name == "AWS_SECRET_ACCESS_KEY")
        {
            return Ok(found);
        }
    }
    Err("the server ended before it said where it is".into())
}

/// Message number `n`: 1 KiB of text that differs from message to message, and two attributes.
fn message(n: u64) -> Message {
    let mut body = format!("{{\"order\":{n},\"text\":\"");
    while body.len() < BODY_BYTES - 2 {
        body.push(char::from(b'a' + (body.len() as u64 * 7 + n) as u8 % 26));
    }
    body.push_str("\"}");
    let text = |name: &str, data_type: &str, value: String| Attribute {
        name: name.to_owned(),
        data_type: data_type.to_owned(),
        value: Value::Text(value),
    };
    Message {
        id: Id([0; 16]),
        message_id: String::new(),
        receipt_handle: String::new(),
        receive_count: 0,
        sent_at_ms: 0,
        body,
        attributes: vec![
            text("channel", "String", "sms".to_owned()),
            text("customer", "Number", n.to_string()),
        ],
        group_id: None,
        deduplication_id: None,
        trace_header: None,
    }
}
