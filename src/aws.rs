//! The AWS side of the ports: SQS and DynamoDB through the AWS SDK.
//!
//! [`Aws`] is what a process has once: where the services are, credentials, the connection pool and the service's
//! clock. [`Clients`] is what a route has: the same, with request counts of its own. From it come the ports:
//! [`sqs::Queue`] and [`dynamo::Table`].
//!
//! Message bodies are not checked against the `MD5OfBody` SQS sends along: what the digest would catch, a body
//! changed between SQS and here, TLS and TCP catch already, and the copy sent on gets a digest of its own.

pub mod clock;
pub mod dynamo;
pub mod outcome;
pub mod preflight;
pub mod profile;
pub mod provision;
pub mod sqs;
pub mod wire;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sqs::config::retry::{RetryConfig, RetryPartition};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use self::clock::{ServiceClock, SystemClock};
use self::outcome::Failure;
pub use self::preflight::{QueueFacts, TableFacts};
pub use self::wire::RequestCounts;
use self::wire::{Counters, Pool, Wire};

/// How long the calls may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// One send, which is never repeated by the SDK.
    pub send: Duration,
    /// One delete, visibility change or queue look-up, the SDK's retries included.
    pub control: Duration,
    /// One call of the checkpoint table, retries included.
    pub table: Duration,
}

/// How much longer than its wait a receive may take, retries of attempts that failed early included. An answer that
/// is later still is worse than none: its messages' visibility has begun. (So no read timeout is set anywhere: it would
/// have to outlast the longest poll, and be too long for everything else.)
pub const RECEIVE_SLACK: Duration = Duration::from_secs(5);

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            send: Duration::from_secs(5),
            control: Duration::from_secs(6),
            table: Duration::from_secs(3),
        }
    }
}

/// Endpoints given outright instead of by the environment: those of `demo` and of tests.
#[derive(Clone)]
pub struct Endpoints {
    /// The URL of the SQS endpoint.
    pub sqs: String,
    /// The URL of the DynamoDB endpoint.
    pub dynamodb: String,
    /// The region requests are signed for.
    pub region: String,
    /// The access key id requests are signed with.
    pub access_key_id: String,
    /// The secret to it.
    pub secret_access_key: String,
}

/// Access to the services, once per process.
#[derive(Clone)]
pub struct Aws {
    config: SdkConfig,
    sqs_url: Option<String>,
    dynamodb_url: Option<String>,
    timeouts: Timeouts,
    pool: Arc<Pool>,
    service: Arc<ServiceClock>,
}

impl Aws {
    /// Access as the SDK's own environment variables, profile files and role providers say (`AWS_ENDPOINT_URL…`,
    /// `AWS_REGION`, web identity, container credentials, instance metadata). Credentials are fetched with the first
    /// request.
    pub async fn from_env(timeouts: Timeouts) -> Self {
        Self::with(Self::loader().load().await, None, timeouts)
    }

    /// Access to the endpoints given, with nothing taken from the environment's credentials or profiles.
    pub async fn at(endpoints: &Endpoints, timeouts: Timeouts) -> Self {
        let config = Self::loader()
            .region(Region::new(endpoints.region.clone()))
            .credentials_provider(Credentials::new(
                endpoints.access_key_id.clone(),
                endpoints.secret_access_key.clone(),
                None,
                None,
                "given",
            ))
            .load()
            .await;
        Self::with(config, Some(endpoints), timeouts)
    }

    fn loader() -> aws_config::ConfigLoader {
        let loader = aws_config::defaults(BehaviorVersion::latest())
            // Answers are small and every call has a timeout of its own.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        match AppName::new(concat!("sqs-drain-", env!("CARGO_PKG_VERSION"))) {
            Ok(name) => loader.app_name(name),
            Err(_) => loader,
        }
    }

    fn with(config: SdkConfig, endpoints: Option<&Endpoints>, timeouts: Timeouts) -> Self {
        Self {
            config,
            sqs_url: endpoints.map(|e| e.sqs.clone()),
            dynamodb_url: endpoints.map(|e| e.dynamodb.clone()),
            timeouts,
            pool: Arc::default(),
            service: Arc::default(),
        }
    }

    /// The operating system's clock, with the service's beside it as this access's answers tell it.
    pub fn clock(&self) -> SystemClock {
        SystemClock::new(Arc::clone(&self.service))
    }

    /// The region requests are signed for; `None` when nothing names one, and then every call fails.
    pub fn region(&self) -> Option<&str> {
        self.config
            .region()
            .map(AsRef::as_ref)
            .filter(|name: &&str| !name.is_empty())
    }

    /// Where the first request to SQS and the first to DynamoDB went: scheme, host and port; `None` before there was one.
    pub fn origins(&self) -> [(&'static str, Option<&str>); 2] {
        [
            ("SQS", self.pool.sqs.get().map(String::as_str)),
            ("DynamoDB", self.pool.dynamodb.get().map(String::as_str)),
        ]
    }

    /// The timeouts given.
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// Clients with request counts of their own, starting at zero. They share connections, credentials and clock with
    /// all other clients of this access.
    pub fn clients(&self) -> Clients {
        self.clients_with(self.timeouts)
    }

    /// As [`Aws::clients`], with timeouts of their own.
    pub fn clients_with(&self, timeouts: Timeouts) -> Clients {
        let counters = Arc::new(Counters::default());
        let http = SharedHttpClient::new(Wire::new(
            Arc::clone(&self.pool),
            Arc::clone(&counters),
            Arc::clone(&self.service),
        ));
        let sqs = |partition: &'static str, retry: RetryConfig, timeout: TimeoutConfig| {
            let mut config = aws_sdk_sqs::config::Builder::from(&self.config)
                .http_client(http.clone())
                .retry_partition(RetryPartition::new(partition))
                .retry_config(retry)
                .timeout_config(timeout);
            if let Some(url) = &self.sqs_url {
                config = config.endpoint_url(url);
            }
            aws_sdk_sqs::Client::from_conf(config.build())
        };
        let Timeouts {
            send,
            control,
            table,
        } = timeouts;
        Clients {
            receive: sqs("sqs-receive", quick(3), unlimited()),
            send: sqs("sqs-send", RetryConfig::disabled(), limit(send, send)),
            control: sqs("sqs-control", quick(3), limit(control / 2, control)),
            dynamodb: {
                let mut config = aws_sdk_dynamodb::config::Builder::from(&self.config)
                    .http_client(http.clone())
                    .retry_partition(RetryPartition::new("dynamodb-table"))
                    .retry_config(quick(6))
                    .timeout_config(limit(table / 2, table));
                if let Some(url) = &self.dynamodb_url {
                    config = config.endpoint_url(url);
                }
                aws_sdk_dynamodb::Client::from_conf(config.build())
            },
            counters,
            table_timeout: table,
            has_region: self.region().is_some(),
        }
    }
}

/// The SDK's standard retries, beginning sooner: its first pause of up to a second is a page's whole time.
fn quick(attempts: u32) -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(attempts)
        .with_initial_backoff(Duration::from_millis(100))
        .with_max_backoff(Duration::from_secs(2))
}

/// No limits but to connecting: a receive's depends on its wait, which each call brings.
fn unlimited() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(wire::CONNECT_TIMEOUT)
        .build()
}

fn limit(attempt: Duration, operation: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(wire::CONNECT_TIMEOUT)
        .operation_attempt_timeout(attempt)
        .operation_timeout(operation)
        .build()
}

/// The SDK's clients, one per kind of call because timeouts and retries differ, with their request counts.
///
/// One client for each kind instead of a setting at each call: the SDK rebuilds its whole plug-in chain for a call that
/// overrides configuration.
#[derive(Clone)]
pub struct Clients {
    receive: aws_sdk_sqs::Client,
    send: aws_sdk_sqs::Client,
    control: aws_sdk_sqs::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    counters: Arc<Counters>,
    table_timeout: Duration,
    has_region: bool,
}

impl Clients {
    /// The queue under `url`, as [`Source`](crate::port::Source) and as [`Sink`](crate::port::Sink).
    pub fn queue(&self, url: impl Into<String>) -> sqs::Queue {
        sqs::Queue::new(self, url.into())
    }

    /// The table `name`, as [`Store`](crate::port::Store).
    pub fn table(&self, name: impl Into<String>) -> dynamo::Table {
        dynamo::Table::new(self, name.into())
    }

    /// The requests these clients have put on the wire so far, retries included.
    pub fn requests(&self) -> RequestCounts {
        self.counters.read()
    }
}

/// Reads what an SDK error says about the request.
fn failure<E>(error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let lost = |code: &str| Failure::Lost {
        code: code.to_owned(),
        message: in_words(error),
    };
    match error {
        // What the SDK takes for an error only because it cannot read it.
        SdkError::ServiceError(unreadable) if unreadable.raw().status().is_success() => {
            lost("answer")
        }
        SdkError::ServiceError(refused) => Failure::Refused {
            status: refused.raw().status().as_u16(),
            code: refused.err().code().unwrap_or_default().to_owned(),
            message: refused.err().message().unwrap_or_default().to_owned(),
        },
        SdkError::ResponseError(unreadable) => match unreadable.raw().status().as_u16() {
            // What a proxy or a server that speaks something else refuses was not done.
            status @ 400..=499 => Failure::Refused {
                status,
                code: String::new(),
                message: "unreadable answer".to_owned(),
            },
            _ => lost("answer"),
        },
        SdkError::TimeoutError(_) => lost("timeout"),
        SdkError::ConstructionFailure(_) => {
            never_sent(error).unwrap_or_else(|| Failure::NeverSent {
                code: "request".to_owned(),
                message: in_words(error),
            })
        }
        SdkError::DispatchFailure(dispatch) => never_sent(error).unwrap_or_else(|| {
            lost(if dispatch.is_timeout() {
                "timeout"
            } else {
                "connection"
            })
        }),
        _ => lost("answer"),
    }
}

/// An error and what caused it. Not the SDK's own description: that shows the answer it cannot read, with the messages in it.
fn in_words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}

/// Finds in an error's chain what proves that nothing was written: missing credentials, or a connection that never
/// came about.
fn never_sent(error: &(dyn Error + 'static)) -> Option<Failure> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(credentials) = cause.downcast_ref::<CredentialsError>() {
            return Some(Failure::Credentials {
                passing: matches!(
                    credentials,
                    CredentialsError::ProviderTimedOut(_)
                        | CredentialsError::ProviderError(_)
                        | CredentialsError::Unhandled(_)
                ),
                message: in_words(credentials),
            });
        }
        if let Some(client) = cause.downcast_ref::<hyper_util::client::legacy::Error>()
            && client.is_connect()
        {
            return Some(Failure::NeverSent {
                code: "connect".to_owned(),
                message: in_words(client),
            });
        }
        next = cause.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchError;
    use aws_smithy_runtime_api::client::result::ConnectorError;

    use super::*;

    type SendError = SdkError<SendMessageBatchError, HttpResponse>;

    fn dispatch(source: CredentialsError) -> SendError {
        SdkError::dispatch_failure(ConnectorError::other(source.into(), None))
    }

    #[test]
    fn missing_credentials_are_known_wherever_they_are_missed() {
        let gone = || CredentialsError::not_loaded("none");
        for error in [dispatch(gone()), SendError::construction_failure(gone())] {
            let failure = failure(&error);
            assert!(
                matches!(failure, Failure::Credentials { passing: false, .. }),
                "{failure:?}"
            );
        }
    }

    #[test]
    fn a_failing_credentials_provider_may_recover() {
        let late = CredentialsError::provider_timed_out(Duration::from_secs(1));
        for source in [late, CredentialsError::provider_error("503 of STS")] {
            let failure = failure(&dispatch(source));
            assert!(
                matches!(failure, Failure::Credentials { passing: true, .. }),
                "{failure:?}"
            );
        }
    }

    #[test]
    fn only_what_proves_it_is_taken_for_unsent() {
        let io = || Box::new(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        // Refused, but by whom and when is not said.
        for (connector, code) in [
            (ConnectorError::io(io()), "connection"),
            (ConnectorError::user(io()), "connection"),
            (ConnectorError::other(io(), None), "connection"),
            (ConnectorError::timeout(io()), "timeout"),
        ] {
            let failure = failure(&SendError::dispatch_failure(connector));
            assert!(
                matches!(&failure, Failure::Lost { code: lost, .. } if lost == code),
                "{failure:?}"
            );
        }
        let failure = failure(&SendError::timeout_error("late"));
        assert!(matches!(failure, Failure::Lost { .. }), "{failure:?}");
    }

    #[test]
    fn a_request_that_could_not_be_built_was_not_sent() {
        let failure = failure(&SendError::construction_failure("no queue URL"));
        assert!(matches!(failure, Failure::NeverSent { .. }), "{failure:?}");
    }

    #[tokio::test]
    async fn without_a_region_nothing_is_asked() {
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .build();
        let clients = Aws::with(config, None, Timeouts::default()).clients();
        let error = clients.describe_queue("q").await.expect_err("no region");
        assert_eq!(error.code, "region");
        assert!(error.message.contains("AWS_REGION"), "{error}");
        assert!(clients.describe_table("t").await.is_err());
        assert!(clients.create_table("t").await.is_err());
        assert_eq!(clients.requests(), RequestCounts::default());
    }
}
