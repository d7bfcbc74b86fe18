//! The embedded endpoints: the queue engine by itself, and both servers over HTTP through the AWS SDK.

mod dynamo;
mod harness;
mod sends;
