//! The HTTP/1.1 server under both endpoints: accepts, reads a request whole, hands it on, answers or hangs up.

use std::future::Future;
use std::io;
use std::net::TcpListener as StdListener;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Error;

/// Largest request body: what DynamoDB takes, and room for the largest SQS batch in JSON.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// How long open connections may take to finish their request at shutdown.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(2);
/// Pause after a failed accept (too many open files), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// What answers requests.
pub(super) trait Handler: Send + Sync + 'static {
    /// Answers a request; `None` closes the connection without an answer.
    fn handle(
        self: Arc<Self>,
        head: Parts,
        body: Bytes,
    ) -> impl Future<Output = Option<Response<Full<Bytes>>>> + Send;
}

/// The access key id that a request was signed with (Signature Version 4: `Credential=ID/date/region/...`).
pub(super) fn access_key(headers: &HeaderMap) -> Option<&str> {
    let signed = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (_, credential) = signed.split_once("Credential=")?;
    credential.split('/').next()
}

/// A thread with a runtime of its own, running one endpoint.
pub(super) struct Worker(oneshot::Receiver<Result<(), Error>>);

impl Worker {
    /// Starts a thread that runs `main` to its end.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be had.
    pub fn spawn<F, Fut>(name: &str, main: F) -> Result<Self, Error>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), Error>>,
    {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::Thread)?;
        let (done, ended) = oneshot::channel();
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let result = runtime.block_on(main());
                drop(runtime);
                // Nobody listening means nobody asked.
                let _ = done.send(result);
            })
            .map_err(Error::Thread)?;
        Ok(Self(ended))
    }

    /// Waits for the thread's end.
    ///
    /// # Errors
    /// What `main` returned, or that the thread panicked.
    pub async fn ended(self) -> Result<(), Error> {
        self.0.await.unwrap_or(Err(Error::Panicked))
    }
}

/// Serves connections until `stop`, then lets each finish the request it is in.
///
/// # Errors
/// When the listener cannot be used.
#[expect(
    clippy::disallowed_methods,
    reason = "a pause between accepts is the socket's, not the endpoints' time"
)]
pub(super) async fn serve<H: Handler>(
    listener: StdListener,
    handler: Arc<H>,
    stop: CancellationToken,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, Arc::clone(&handler), stop.clone()));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
    drop(listener);
    connections.close();
    let _ = tokio::time::timeout(SHUTDOWN_PATIENCE, connections.wait()).await;
    Ok(())
}

/// A handler's wish to hang up.
#[derive(Debug, thiserror::Error)]
#[error("connection closed on purpose")]
struct HangUp;

async fn connection<H: Handler>(stream: TcpStream, handler: Arc<H>, stop: CancellationToken) {
    // Answers are small and awaited: never hold one back for more. A socket that refuses is closing anyway.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(Arc::clone(&handler), request));
    let mut connection = pin!(
        http1::Builder::new()
            .auto_date_header(false)
            .serve_connection(TokioIo::new(stream), service)
    );
    // A broken connection is the client's affair, here as in AWS.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn answer<H: Handler>(
    handler: Arc<H>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, HangUp> {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => {
            let mut refusal = Response::new(Full::default());
            *refusal.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
            return Ok(refusal);
        }
    };
    handler.handle(head, body).await.ok_or(HangUp)
}
