//! The embedded endpoints: the queue engine by itself, and both servers over HTTP through the AWS SDK.

mod attributes;
mod batches;
mod dynamo;
mod engine;
mod faults;
mod harness;
mod persistence;
mod polls;
mod protocol;
mod sends;
