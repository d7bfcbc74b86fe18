//! The bench of everything that is reached over HTTP: the real ports, over the AWS SDK.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use sqs_drain::aws::{Aws, Clients, Endpoints, Timeouts, dynamo, sqs};

use super::{Bench, Difference, Spec};
use crate::record::{self, Caller};

/// The table every clause of a bench uses, each in partitions of its own.
pub const TABLE: &str = "sqs-drain-contract";

/// The real ports over HTTP.
#[derive(Clone)]
pub struct Http {
    /// The adapters under test.
    clients: Clients,
    /// Makes what they work on.
    hands: Clients,
    /// How time is let pass.
    time: Time,
    differences: &'static [Difference],
}

/// How a server's time is let pass.
#[derive(Clone)]
pub enum Time {
    /// Real time: an independent server.
    Real,
    /// A clock set forward by hand.
    Manual(Rc<dyn Fn(Duration)>),
}

/// Generous: an emulator on a busy machine is slow.
pub const TIMEOUTS: Timeouts = Timeouts {
    send: Duration::from_secs(30),
    control: Duration::from_secs(60),
    table: Duration::from_secs(60),
};

/// The access of the adapters under test to servers at these URLs.
pub async fn access(sqs: &str, dynamodb: &str, timeouts: Timeouts) -> Aws {
    let key = record::sign_as(Caller::adapters("ports"));
    access_as(&key, sqs, dynamodb, timeouts).await
}

/// Access to servers at these URLs, signing with this access key id.
pub async fn access_as(key: &str, sqs: &str, dynamodb: &str, timeouts: Timeouts) -> Aws {
    let endpoints = Endpoints {
        sqs: sqs.to_owned(),
        dynamodb: dynamodb.to_owned(),
        region: "ap-northeast-2".to_owned(),
        access_key_id: key.to_owned(),
        secret_access_key: "secret".to_owned(),
    };
    Aws::at(&endpoints, timeouts).await
}

impl Http {
    /// The bench on servers at these URLs; the table is created. `dynamodb` is empty where there is none.
    pub async fn new(
        sqs: &str,
        dynamodb: &str,
        time: Time,
        differences: &'static [Difference],
    ) -> Self {
        let clients = access(sqs, dynamodb, TIMEOUTS).await.clients();
        let hands = access_as(record::HARNESS, sqs, dynamodb, TIMEOUTS).await;
        let hands = hands.clients();
        if !dynamodb.is_empty() {
            hands
                .create_table(TABLE)
                .await
                .expect("the table is created");
        }
        Self {
            clients,
            hands,
            time,
            differences,
        }
    }

    /// Makes a queue with attributes of SQS's own names.
    pub async fn make(&self, fifo: bool, attributes: &[(&str, &str)]) -> String {
        let suffix = if fifo { ".fifo" } else { "" };
        let name = format!("contract-{}{suffix}", uuid::Uuid::new_v4().simple());
        self.hands
            .create_queue(&name, attributes)
            .await
            .expect("the queue is created")
    }
}

impl Bench for Http {
    type Queue = String;
    type Source = sqs::Queue;
    type Sink = sqs::Queue;
    type Store = dynamo::Table;

    async fn queue(&self, spec: Spec<String>) -> String {
        let delay = spec.delay_s.to_string();
        let mut attributes = vec![("DelaySeconds", delay.as_str())];
        if spec.fifo {
            attributes.push(("FifoQueue", "true"));
        }
        let redrive;
        if let Some((dead, receives)) = &spec.dead_letters {
            let dead = self
                .hands
                .describe_queue(dead)
                .await
                .expect("the queue is there");
            redrive = format!(
                r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":"{receives}"}}"#,
                dead.arn
            );
            attributes.push(("RedrivePolicy", &redrive));
        }
        self.make(spec.fifo, &attributes).await
    }

    async fn refusing(&self) -> Option<(String, String)> {
        // A character outside of what SQS allows (SendMessageBatch: InvalidMessageContents).
        let queue = self.make(false, &[]).await;
        Some((queue, "m1 \u{1}".to_owned()))
    }

    fn missing(&self) -> Option<String> {
        // The endpoint is not taken from the queue's URL, but servers look at its last part.
        Some("http://127.0.0.1:1/000000000000/no-such-queue".to_owned())
    }

    fn source(&self, queue: &String) -> sqs::Queue {
        self.clients.queue(queue)
    }

    fn sink(&self, queue: &String) -> sqs::Queue {
        self.clients.queue(queue)
    }

    fn store(&self) -> dynamo::Table {
        self.clients.table(TABLE)
    }

    fn partition(&self) -> String {
        uuid::Uuid::new_v4().to_string()
    }

    async fn pass(&self, by: Duration) {
        match &self.time {
            #[expect(
                clippy::disallowed_methods,
                reason = "an independent server has no other clock"
            )]
            Time::Real => tokio::time::sleep(by).await,
            Time::Manual(advance) => {
                advance(by);
                tokio::task::yield_now().await;
            }
        }
    }

    fn exact(&self) -> bool {
        matches!(self.time, Time::Manual(_))
    }

    fn differs(&self, in_what: Difference) -> bool {
        self.differences.contains(&in_what)
    }
}

/// Runs a clause on a runtime like the program's own. A clause that hangs fails.
pub fn run<T>(clause: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        match tokio::time::timeout(Duration::from_secs(120), clause).await {
            Ok(value) => value,
            Err(_) => panic!("the clause hangs"),
        }
    })
}
