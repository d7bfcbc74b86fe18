//! The embedded endpoints: a strict SQS server of our own and DynamoDB by `dynoxide`, on loopback, for `demo`, `local`,
//! the tests and the bench. They know nothing of draining: the worker reaches them over HTTP like any AWS client.

mod clock;
mod dynamo;
mod fault;
mod hooks;
mod http;
mod latency;
pub mod sqs;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

pub use clock::{Clock, ManualClock};
pub use fault::{BatchEntry, Call, Effect, EntryFault, Faults, Rule, RuleId, Service};
pub use hooks::Peeked;

use sqs::engine::{DEFAULT_IN_FLIGHT_LIMIT, Engine};
use sqs::snapshot;

/// How to start the endpoints.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where SQS listens; port 0 takes a free one.
    pub sqs_addr: SocketAddr,
    /// Where DynamoDB listens; port 0 takes a free one.
    pub dynamo_addr: SocketAddr,
    /// Added to every request, half on the way there and half on the way back; real time whatever the clock.
    pub latency: Duration,
    /// Keeps both across restarts: DynamoDB in its SQLite file, the queues in a snapshot written at a clean shutdown
    /// only. Without it everything is in memory.
    pub data_dir: Option<PathBuf>,
    /// The time both live by.
    pub clock: Clock,
    /// Whether the time of every accepted send is kept, for [`Endpoints::accepted_sends`]. Costs memory that grows with
    /// the sends.
    pub record_sends: bool,
    /// Messages of one queue that may be in flight.
    pub in_flight_limit: usize,
    /// Whether a long poll goes on after its client has hung up, and so may take messages that nobody sees until their
    /// visibility timeout ends. AWS does it: a poll that is cancelled, or whose process is killed, is not withdrawn.
    pub orphan_polls: bool,
}

impl Default for Options {
    /// The ports that other local SQS and DynamoDB servers use, in memory, no latency, the system's clock.
    fn default() -> Self {
        Self {
            sqs_addr: (Ipv4Addr::LOCALHOST, 9324).into(),
            dynamo_addr: (Ipv4Addr::LOCALHOST, 8000).into(),
            latency: Duration::ZERO,
            data_dir: None,
            clock: Clock::system(),
            record_sends: false,
            in_flight_limit: DEFAULT_IN_FLIGHT_LIMIT,
            orphan_polls: true,
        }
    }
}

impl Options {
    /// Free ports on loopback, and the times of accepted sends kept: what a test wants.
    pub fn ephemeral() -> Self {
        Self {
            sqs_addr: (Ipv4Addr::LOCALHOST, 0).into(),
            dynamo_addr: (Ipv4Addr::LOCALHOST, 0).into(),
            record_sends: true,
            ..Self::default()
        }
    }
}

/// Why the endpoints could not start, run or stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {source}")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A socket that was already bound failed.
    #[error("the endpoint's socket failed: {0}")]
    Serve(io::Error),
    /// No thread or runtime could be had.
    #[error("cannot start a thread for an endpoint: {0}")]
    Thread(io::Error),
    /// The database cannot be opened or failed.
    #[error("the DynamoDB endpoint's database failed: {0}")]
    Database(String),
    /// A file or directory of the data directory.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A fault in the endpoint itself.
    #[error("an endpoint's thread panicked")]
    Panicked,
}

/// The running endpoints, and what a test may do to them. Dropping it stops them without waiting.
pub struct Endpoints {
    /// SQS: `http://host:port`.
    pub sqs_url: String,
    /// DynamoDB: `http://host:port`.
    pub dynamo_url: String,
    clock: Clock,
    faults: Faults,
    sqs: Arc<sqs::service::Service>,
    workers: Vec<http::Worker>,
    _stop_on_drop: DropGuard,
    stop: CancellationToken,
}

fn bind(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Bind { addr, source };
    let listener = TcpListener::bind(addr).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Starts both endpoints, each on a thread of its own. They accept requests when this returns.
///
/// # Errors
/// When a port is taken, or the data directory cannot be used.
pub async fn start(options: Options) -> Result<Endpoints, Error> {
    let (sqs_listener, sqs_addr) = bind(options.sqs_addr)?;
    let (dynamo_listener, dynamo_addr) = bind(options.dynamo_addr)?;
    let stop = CancellationToken::new();
    let faults = Faults::default();

    let database = dynamo::open(&options)?;
    let mut engine = Engine::new(Uuid::new_v4);
    engine.set_in_flight_limit(options.in_flight_limit);
    engine.set_record_sends(options.record_sends);
    if let Some(dir) = &options.data_dir {
        snapshot::read(&mut engine, dir).map_err(|source| snapshot_error(dir, source))?;
    }
    let service = Arc::new(sqs::service::Service::new(
        engine,
        &options,
        faults.clone(),
        sqs_addr.to_string(),
        stop.clone(),
    ));

    let (serving, data_dir, sqs_stop) =
        (Arc::clone(&service), options.data_dir.clone(), stop.clone());
    let sqs_worker = http::Worker::spawn("local-sqs", move || async move {
        http::serve(sqs_listener, Arc::clone(&serving), sqs_stop)
            .await
            .map_err(Error::Serve)?;
        match data_dir {
            Some(dir) => serving
                .with_engine(|engine| snapshot::write(engine, &dir))
                .map_err(|source| snapshot_error(&dir, source)),
            None => Ok(()),
        }
    })?;
    let (dynamo_options, dynamo_faults, dynamo_stop) =
        (options.clone(), faults.clone(), stop.clone());
    let dynamo_worker = http::Worker::spawn("local-dynamodb", move || {
        dynamo::run(
            dynamo_listener,
            database,
            dynamo_options,
            dynamo_faults,
            dynamo_stop,
        )
    })?;

    Ok(Endpoints {
        sqs_url: format!("http://{sqs_addr}"),
        dynamo_url: format!("http://{dynamo_addr}"),
        clock: options.clock,
        faults,
        sqs: service,
        workers: vec![sqs_worker, dynamo_worker],
        _stop_on_drop: stop.clone().drop_guard(),
        stop,
    })
}

fn snapshot_error(dir: &Path, source: io::Error) -> Error {
    Error::File {
        path: dir.join(snapshot::FILE),
        source,
    }
}

impl Endpoints {
    /// Stops accepting, lets open requests finish (long polls answer at once, with nothing), and writes the snapshot
    /// when there is a data directory.
    ///
    /// # Errors
    /// When the snapshot cannot be written, or an endpoint had failed.
    pub async fn shutdown(mut self) -> Result<(), Error> {
        self.stop.cancel();
        let mut result = Ok(());
        for worker in std::mem::take(&mut self.workers) {
            result = result.and(worker.ended().await);
        }
        result
    }
}
