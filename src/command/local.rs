//! `local`: only the embedded endpoints, until stopped.

use std::io::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::{Failure, runtime, signals};
use crate::cli::LocalArgs;
use crate::exit::ExitCode;
use crate::local::{self, Options};

/// `sqs-drain local`.
pub fn local(args: &LocalArgs) -> Result<ExitCode, Failure> {
    let options = Options {
        sqs_addr: (Ipv4Addr::LOCALHOST, args.port).into(),
        dynamo_addr: (Ipv4Addr::LOCALHOST, args.dynamodb_port).into(),
        latency: Duration::from_millis(args.latency_ms),
        data_dir: args.data.clone(),
        ..Options::default()
    };
    runtime()?.block_on(async {
        let failed = |error: local::Error| Failure::new(ExitCode::Failed, error.to_string());
        let endpoints = local::start(options).await.map_err(failed)?;
        let mut out = std::io::stderr();
        writeln!(
            out,
            "SQS at {}, DynamoDB at {}; stop with Ctrl-C. Aim any AWS client at them:",
            endpoints.sqs_url, endpoints.dynamo_url
        )?;
        writeln!(out, "export AWS_ENDPOINT_URL_SQS={}", endpoints.sqs_url)?;
        writeln!(
            out,
            "export AWS_ENDPOINT_URL_DYNAMODB={}",
            endpoints.dynamo_url
        )?;
        writeln!(
            out,
            "export AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local"
        )?;
        signals::first().await?;
        endpoints.shutdown().await.map_err(failed)?;
        Ok(ExitCode::Drained)
    })
}
