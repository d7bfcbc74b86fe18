//! The one place where requests leave: a shared connection pool, the count of requests and the service's clock.
//!
//! It sits below the SDK's retries, so it sees every attempt as it goes to the wire, and with the shortest round trip
//! around it that can be had.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::date_time::Format;
use serde::Serialize;

use super::clock::{ServiceClock, boot_time};

/// How long a connection (TLS included) may take to be made. What is not connected was surely not sent.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long an unused connection is kept. Well below what load balancers keep theirs (60 s and more): a request
/// written to a connection the other side is just closing has a lost answer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Requests put on the wire, the SDK's own retries included, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RequestCounts {
    /// `ReceiveMessage`.
    pub receive: u64,
    /// `SendMessageBatch` and `SendMessage`.
    pub send: u64,
    /// `DeleteMessageBatch` and `DeleteMessage`.
    pub delete: u64,
    /// Everything else asked of SQS.
    pub other_sqs: u64,
    /// DynamoDB reads (`GetItem`, `BatchGetItem`, `Query`, descriptions).
    pub dynamodb_read: u64,
    /// DynamoDB writes (`PutItem`, `UpdateItem`, `DeleteItem`, changes to the table).
    pub dynamodb_write: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Receive,
    Send,
    Delete,
    OtherSqs,
    DynamoRead,
    DynamoWrite,
}

/// The kind of a request by its `X-Amz-Target` header (AWS JSON protocol: `service.Operation`).
fn kind(target: &str) -> Kind {
    let (service, operation) = target.split_once('.').unwrap_or(("", target));
    if service.starts_with("DynamoDB") {
        return match operation {
            "PutItem"
            | "UpdateItem"
            | "DeleteItem"
            | "BatchWriteItem"
            | "TransactWriteItems"
            | "CreateTable"
            | "UpdateTimeToLive"
            | "UpdateContinuousBackups" => Kind::DynamoWrite,
            _ => Kind::DynamoRead,
        };
    }
    match operation {
        "ReceiveMessage" => Kind::Receive,
        "SendMessageBatch" | "SendMessage" => Kind::Send,
        "DeleteMessageBatch" | "DeleteMessage" => Kind::Delete,
        _ => Kind::OtherSqs,
    }
}

/// The counters behind [`RequestCounts`].
#[derive(Debug, Default)]
pub(super) struct Counters([AtomicU64; 6]);

impl Counters {
    fn count(&self, kind: Kind) {
        self.0[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> RequestCounts {
        let of = |kind: Kind| self.0[kind as usize].load(Ordering::Relaxed);
        RequestCounts {
            receive: of(Kind::Receive),
            send: of(Kind::Send),
            delete: of(Kind::Delete),
            other_sqs: of(Kind::OtherSqs),
            dynamodb_read: of(Kind::DynamoRead),
            dynamodb_write: of(Kind::DynamoWrite),
        }
    }
}

/// The connection pool that all clients of a process share. The trusted certificates are loaded with the first request.
#[derive(Default)]
pub(super) struct Pool {
    connector: OnceLock<Connector>,
    /// Where the first request to SQS went, and to DynamoDB: scheme, host and port.
    pub(super) sqs: OnceLock<String>,
    pub(super) dynamodb: OnceLock<String>,
}

impl Pool {
    /// Notes where a service is.
    fn note_origin(&self, kind: Kind, uri: &str) {
        let origin = match kind {
            Kind::DynamoRead | Kind::DynamoWrite => &self.dynamodb,
            _ => &self.sqs,
        };
        origin.get_or_init(|| origin_of(uri));
    }

    fn connector(&self) -> &Connector {
        self.connector.get_or_init(|| {
            Connector::builder()
                .connector_settings(
                    HttpConnectorSettings::builder()
                        .connect_timeout(CONNECT_TIMEOUT)
                        .build(),
                )
                .pool_idle_timeout(IDLE_TIMEOUT)
                .proxy_config(ProxyConfig::from_env())
                .tls_provider(tls::Provider::Rustls(
                    tls::rustls_provider::CryptoMode::AwsLc,
                ))
                .build()
        })
    }
}

/// Scheme, host and port of a URL: the first three of its parts between slashes.
fn origin_of(uri: &str) -> String {
    uri.splitn(4, '/').take(3).collect::<Vec<_>>().join("/")
}

/// An SDK HTTP client over the shared pool which counts and looks at dates.
pub(super) struct Wire {
    connector: SharedHttpConnector,
}

impl Wire {
    pub(super) fn new(
        pool: Arc<Pool>,
        counters: Arc<Counters>,
        service: Arc<ServiceClock>,
    ) -> Self {
        Self {
            connector: SharedHttpConnector::new(Meter {
                pool,
                counters,
                service,
            }),
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl HttpClient for Wire {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        // Timeouts other than the connect timeout are the operations' own, so one connector serves all settings and
        // all clients share its connections.
        self.connector.clone()
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        Some(ConnectorMetadata::new("hyper", Some("1.x".into())))
    }
}

struct Meter {
    pool: Arc<Pool>,
    counters: Arc<Counters>,
    service: Arc<ServiceClock>,
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meter")
    }
}

impl HttpConnector for Meter {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if let Some(target) = request.headers().get("x-amz-target") {
            let kind = kind(target);
            self.counters.count(kind);
            self.pool.note_origin(kind, request.uri());
        }
        let sent = boot_time();
        let answer = self.pool.connector().call(request);
        let service = Arc::clone(&self.service);
        HttpConnectorFuture::new(async move {
            let response = answer.await?;
            if let Some(date_s) = date_s(&response) {
                service.observe(date_s, sent, boot_time());
            }
            Ok(response)
        })
    }
}

/// The `Date` header of an answer, in seconds since the Unix epoch.
fn date_s(response: &HttpResponse) -> Option<i64> {
    let date = response.headers().get("date")?;
    let date = aws_smithy_types::DateTime::from_str(date, Format::HttpDate).ok()?;
    Some(date.secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_the_program_makes_has_its_kind() {
        for (target, expected) in [
            ("AmazonSQS.ReceiveMessage", Kind::Receive),
            ("AmazonSQS.SendMessageBatch", Kind::Send),
            ("AmazonSQS.DeleteMessageBatch", Kind::Delete),
            ("AmazonSQS.ChangeMessageVisibilityBatch", Kind::OtherSqs),
            ("AmazonSQS.GetQueueUrl", Kind::OtherSqs),
            ("AmazonSQS.GetQueueAttributes", Kind::OtherSqs),
            ("DynamoDB_20120810.GetItem", Kind::DynamoRead),
            ("DynamoDB_20120810.BatchGetItem", Kind::DynamoRead),
            ("DynamoDB_20120810.Query", Kind::DynamoRead),
            ("DynamoDB_20120810.DescribeTable", Kind::DynamoRead),
            ("DynamoDB_20120810.PutItem", Kind::DynamoWrite),
            ("DynamoDB_20120810.UpdateItem", Kind::DynamoWrite),
            ("DynamoDB_20120810.DeleteItem", Kind::DynamoWrite),
            ("DynamoDB_20120810.CreateTable", Kind::DynamoWrite),
            ("DynamoDB_20120810.UpdateTimeToLive", Kind::DynamoWrite),
        ] {
            assert_eq!(kind(target), expected, "{target}");
        }
    }

    #[test]
    fn where_a_service_is_is_noted_once() {
        let pool = Pool::default();
        pool.note_origin(Kind::Receive, "http://127.0.0.1:9324/queue/a");
        pool.note_origin(Kind::Send, "https://sqs.eu-west-1.amazonaws.com/");
        pool.note_origin(Kind::DynamoRead, "https://dynamodb.eu-west-1.amazonaws.com");
        assert_eq!(
            pool.sqs.get().map(String::as_str),
            Some("http://127.0.0.1:9324")
        );
        assert_eq!(
            pool.dynamodb.get().map(String::as_str),
            Some("https://dynamodb.eu-west-1.amazonaws.com")
        );
    }

    #[test]
    fn counts_add_up_by_kind() {
        let counters = Counters::default();
        counters.count(Kind::Receive);
        counters.count(Kind::DynamoWrite);
        counters.count(Kind::DynamoWrite);
        assert_eq!(
            counters.read(),
            RequestCounts {
                receive: 1,
                dynamodb_write: 2,
                ..RequestCounts::default()
            }
        );
    }
}
