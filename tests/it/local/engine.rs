//! The queue engine by itself: commands and a time in, results out.

mod dead_letters;
mod fifo;
mod model;
mod queues;
mod standard;

use sqs_drain::local::sqs::engine::{Accepted, Delivered, Engine, Receive};
use sqs_drain::local::sqs::error::{Code, SqsError};
use sqs_drain::local::sqs::message::NewMessage;
use uuid::Uuid;

/// An engine, a time that moves only when told, and short forms.
struct Bench {
    engine: Engine,
    now_ms: u64,
}

impl Bench {
    fn new() -> Self {
        Self {
            engine: Engine::new(Uuid::new_v4),
            now_ms: 1_767_323_045_000,
        }
    }

    fn with_queue(name: &str, attributes: &[(&str, &str)]) -> Self {
        let mut bench = Self::new();
        bench.create(name, attributes).expect("a queue");
        bench
    }

    fn create(&mut self, name: &str, attributes: &[(&str, &str)]) -> Result<(), SqsError> {
        let attributes = attributes
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        self.engine
            .create_queue(name, &attributes, Default::default(), self.now_ms)
    }

    fn pass_s(&mut self, seconds: u64) {
        self.now_ms += seconds * 1000;
    }

    fn pass_ms(&mut self, ms: u64) {
        self.now_ms += ms;
    }

    fn send(&mut self, queue: &str, message: NewMessage) -> Result<Accepted, SqsError> {
        self.engine.send(queue, message, false, self.now_ms)
    }

    fn park(&mut self, queue: &str, bodies: &[&str]) {
        for body in bodies {
            self.send(queue, NewMessage::new(*body)).expect("accepted");
        }
    }

    fn receive_as(&mut self, queue: &str, how: Receive) -> Result<Vec<Delivered>, SqsError> {
        self.engine.receive(queue, how, self.now_ms)
    }

    /// Up to ten, with the queue's visibility.
    fn receive(&mut self, queue: &str) -> Vec<Delivered> {
        let how = Receive {
            max: Some(10),
            ..Receive::default()
        };
        self.receive_as(queue, how).expect("messages")
    }

    fn delete(&mut self, queue: &str, delivered: &Delivered) -> Result<(), SqsError> {
        self.engine
            .delete(queue, &delivered.receipt.encode(), self.now_ms)
    }

    fn hide(&mut self, queue: &str, delivered: &Delivered, seconds: i64) -> Result<(), SqsError> {
        let handle = delivered.receipt.encode();
        self.engine
            .change_visibility(queue, &handle, seconds, self.now_ms)
    }

    /// Visible, in flight, delayed.
    fn counts(&mut self, queue: &str) -> (usize, usize, usize) {
        let queue = self.engine.queue_at(queue, self.now_ms).expect("the queue");
        (queue.visible(), queue.in_flight(), queue.delayed())
    }
}

fn bodies(delivered: &[Delivered]) -> Vec<&str> {
    delivered
        .iter()
        .map(|d| d.message.content.body.as_str())
        .collect()
}

fn code<T: std::fmt::Debug>(result: Result<T, SqsError>) -> Code {
    result.expect_err("a refusal").code
}
