//! The DynamoDB endpoint: `dynoxide`, in this process, behind a thin layer of ours that counts calls, obeys the fault
//! rules and the latency, and sets the `Date` header from the endpoints' clock.
//!
//! `dynoxide` offers no handler to call, only a server for a socket: it listens on a loopback port of its own, and the
//! layer forwards to it. Expired items (TTL) are not swept: DynamoDB may take days over that, so nobody may rely on it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dynoxide::{Database, DynoxideError};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, DATE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::fault::{Call, Faults, Service};
use super::http::{self as server, Handler};
use super::latency::Latency;
use super::{Error, Options};

/// The database's file inside the data directory.
const FILE: &str = "dynamodb.sqlite";

/// The clock as `dynoxide` wants it.
struct DatabaseClock(Clock);

impl dynoxide::storage_backend::Clock for DatabaseClock {
    fn now_unix_secs(&self) -> u64 {
        self.0.now_ms() / 1000
    }

    fn now_unix_secs_f64(&self) -> f64 {
        Duration::from_millis(self.0.now_ms()).as_secs_f64()
    }
}

/// Opens the database: in memory, or in the data directory. A database on disk keeps the system's time whatever the
/// endpoints' clock (`dynoxide` cannot be told otherwise).
pub(super) fn open(options: &Options) -> Result<Database, Error> {
    let failed = |e: DynoxideError| Error::Database(e.to_string());
    let Some(dir) = &options.data_dir else {
        return Database::memory_with_clock(Arc::new(DatabaseClock(options.clock.clone())))
            .map_err(failed);
    };
    std::fs::create_dir_all(dir).map_err(|source| Error::File {
        path: dir.clone(),
        source,
    })?;
    let path = Path::new(dir).join(FILE);
    let name = path
        .to_str()
        .ok_or_else(|| Error::Database(format!("{} is not UTF-8", path.display())))?;
    Database::new(name).map_err(failed)
}

/// Serves the database on `listener` until `stop`.
pub(super) async fn run(
    listener: StdListener,
    database: Database,
    options: Options,
    faults: Faults,
    stop: CancellationToken,
) -> Result<(), Error> {
    let inner = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .map_err(Error::Serve)?;
    let upstream = inner.local_addr().map_err(Error::Serve)?;
    // Stopped after the layer in front of it, so that what that still forwards is answered.
    let inner_stop = CancellationToken::new();
    let served = tokio::spawn(dynoxide::server::serve_with_shutdown(
        inner,
        database,
        inner_stop.clone().cancelled_owned(),
    ));
    let front = Arc::new(Front {
        upstream,
        idle: Mutex::new(Vec::new()),
        latency: Latency::new(options.clock.clone(), options.latency),
        clock: options.clock,
        faults,
    });
    server::serve(listener, Arc::clone(&front), stop)
        .await
        .map_err(Error::Serve)?;
    front
        .idle
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clear();
    inner_stop.cancel();
    // Its own limit: a request cut short by the layer's must not hold the shutdown.
    match tokio::time::timeout(Duration::from_secs(2), served).await {
        Ok(Ok(Err(message))) => Err(Error::Database(message)),
        Ok(Err(_)) => Err(Error::Panicked),
        Ok(Ok(Ok(()))) | Err(_) => Ok(()),
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

struct Front {
    upstream: SocketAddr,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
    latency: Latency,
    clock: Clock,
    faults: Faults,
}

impl Handler for Front {
    async fn handle(self: Arc<Self>, head: Parts, body: Bytes) -> Option<Response<Full<Bytes>>> {
        let arrived = self.latency.arrive();
        let action = head
            .headers
            .get("x-amz-target")
            .and_then(|target| target.to_str().ok())
            .and_then(|target| target.split_once('.'))
            .map_or("unknown", |(_, action)| action);
        let plan = self.faults.apply(&Call {
            service: Service::DynamoDb,
            action,
            queue: None,
            access_key: server::access_key(&head.headers),
            body: &body,
        });
        self.latency.there(&arrived, plan.delay_before).await;
        if plan.drop_before {
            return None;
        }
        if let Some((status, code)) = &plan.error {
            self.latency.back(&arrived, plan.delay_after).await;
            return Some(self.refusal(*status, code));
        }
        let mut response = match self.forward(head, body).await {
            Ok(response) => response,
            Err(_) => self.refusal(500, "InternalServerError"),
        };
        self.latency.back(&arrived, plan.delay_after).await;
        if plan.drop_after {
            return None;
        }
        if let Some((status, code)) = &plan.error_after {
            response = self.refusal(*status, code);
        }
        self.date(&mut response);
        Some(response)
    }
}

impl Front {
    async fn forward(&self, head: Parts, body: Bytes) -> Result<Response<Full<Bytes>>, BoxError> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut sender = match idle {
            Some(sender) if !sender.is_closed() => sender,
            _ => self.connect().await?,
        };
        sender.ready().await?;
        let response = sender
            .send_request(Request::from_parts(head, Full::new(body)))
            .await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(sender);
        Ok(Response::from_parts(head, Full::new(body)))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, BoxError> {
        let stream = TcpStream::connect(self.upstream).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // A broken connection shows at its sender.
            let _ = connection.await;
        });
        Ok(sender)
    }

    fn refusal(&self, status: u16, code: &str) -> Response<Full<Bytes>> {
        let body = serde_json::json!({
            "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"),
            "message": format!("{code} (injected)"),
        });
        let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
        *response.status_mut() =
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-amz-json-1.0"),
        );
        self.date(&mut response);
        response
    }

    fn date(&self, response: &mut Response<Full<Bytes>>) {
        if let Ok(date) = HeaderValue::from_str(&self.clock.http_date()) {
            response.headers_mut().insert(DATE, date);
        }
    }
}
