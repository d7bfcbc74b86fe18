//! A strict SQS server: [`engine`] is what queues do, pure; `wire` is the JSON; `service` is the HTTP.
//!
//! It speaks the AWS JSON 1.0 protocol only. A request must carry an `Authorization` header, as AWS demands, but no
//! signature is verified and no permission checked. Not done: `AddPermission`, `RemovePermission`, message move tasks
//! (`UnsupportedOperation`), the 60 seconds' wait before a deleted queue's name may be used again, throttling,
//! `ReceiveRequestAttemptId` (taken and ignored), an effect of `Policy` and of the encryption attributes.

pub mod attributes;
mod batch;
pub mod engine;
pub mod error;
pub mod handle;
mod manage;
pub mod message;
pub mod queue;
pub(super) mod service;
pub(super) mod snapshot;
mod wire;
