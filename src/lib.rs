//! sqs-drain moves everything an SQS wait queue holds to its destination queues: only inside permitted hours,
//! never faster than told, resumable after any kill. See `docs/design.md` for the guarantee and the protocol.

pub mod aws;
pub mod cli;
pub mod command;
pub mod config;
pub mod drain;
pub mod exit;
pub mod journal;
pub mod ledger;
#[cfg(feature = "local")]
pub mod local;
pub mod message;
pub mod pace;
pub mod plan;
pub mod port;
pub mod refusal;
pub mod report;
pub mod rules;
pub mod stop;
pub mod window;
