//! sqs-drain moves everything an SQS wait queue holds to its destination queues: only inside permitted hours,
//! never faster than told, resumable after any kill. See `docs/design.md` for the guarantee and the protocol.

#[cfg(feature = "local")]
pub mod local;
pub mod message;
pub mod port;
