//! From HTTP to the engine and back: the protocol's checks, one action after the other, and the waiting of long polls.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HOST, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::engine::{ACCOUNT, Engine, Receive, check_wait};
use super::error::{Code, SqsError};
use super::wire::{
    ErrorAnswer, Filter, HandleEntry, QueueRequest, ReceiveMessage, Received, SendMessage,
    SentAnswer,
};
use crate::local::clock::{Clock, http_date};
use crate::local::fault::{Call, Faults, Plan, Service as Endpoint};
use crate::local::http::{Handler, access_key};
use crate::local::latency::Latency;

const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.0");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const QUERY_ERROR: HeaderName = HeaderName::from_static("x-amzn-query-error");

/// The SQS endpoint.
pub struct Service {
    pub(super) engine: Mutex<Engine>,
    /// The long polls waiting on a queue, by its number.
    waiting: Mutex<HashMap<u64, Arc<Waiting>>>,
    pub(super) clock: Clock,
    faults: Faults,
    latency: Latency,
    /// `host:port` for queue URLs when a request does not say.
    address: String,
    /// Whether a long poll whose client has gone goes on and takes messages, as in AWS.
    orphan_polls: bool,
    stop: CancellationToken,
    date: Mutex<(u64, Option<HeaderValue>)>,
}

/// The long polls waiting on one queue.
#[derive(Default)]
struct Waiting {
    wake: Notify,
    count: AtomicUsize,
}

/// Counts one long poll for as long as it waits.
struct Counted(Arc<Waiting>);

impl Counted {
    fn new(waiting: Arc<Waiting>) -> Self {
        waiting.count.fetch_add(1, Ordering::SeqCst);
        Self(waiting)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One request on its way through an action.
pub(super) struct Context<'a> {
    pub body: &'a [u8],
    pub plan: &'a Plan,
    pub host: &'a str,
    pub now_ms: u64,
}

/// The body of an answer.
pub(super) type Answer = Result<Vec<u8>, SqsError>;

impl Service {
    pub fn new(
        engine: Engine,
        options: &crate::local::Options,
        faults: Faults,
        address: String,
        stop: CancellationToken,
    ) -> Self {
        Self {
            engine: Mutex::new(engine),
            waiting: Mutex::default(),
            latency: Latency::new(options.clock.clone(), options.latency),
            clock: options.clock.clone(),
            faults,
            address,
            orphan_polls: options.orphan_polls,
            stop,
            date: Mutex::default(),
        }
    }

    /// Runs something on the engine and wakes the receives it concerns.
    pub fn with_engine<T>(&self, run: impl FnOnce(&mut Engine) -> T) -> T {
        let mut engine = lock(&self.engine);
        let result = run(&mut engine);
        let woken = engine.take_woken();
        drop(engine);
        if !woken.is_empty() {
            let waiting = lock(&self.waiting);
            for number in woken {
                if let Some(polls) = waiting.get(&number) {
                    polls.wake.notify_waiters();
                }
            }
        }
        result
    }

    /// How many long polls wait on a queue now.
    pub fn waiting_polls(&self, name: &str) -> usize {
        let number = self.with_engine(|engine| engine.queue(name).map(|queue| queue.number));
        let waiting = lock(&self.waiting);
        number
            .and_then(|number| waiting.get(&number))
            .map_or(0, |polls| polls.count.load(Ordering::SeqCst))
    }

    async fn act(self: &Arc<Self>, action: &str, cx: &Context<'_>) -> Answer {
        match action {
            "ReceiveMessage" => self.receive(cx).await,
            "SendMessageBatch" => self.send_batch(cx),
            "DeleteMessageBatch" => self.delete_batch(cx),
            "ChangeMessageVisibilityBatch" => self.change_visibility_batch(cx),
            "SendMessage" => self.send(cx),
            "DeleteMessage" => self.delete(cx),
            "ChangeMessageVisibility" => self.change_visibility(cx),
            "CreateQueue" => self.create_queue(cx),
            "DeleteQueue" => self.with_queue(cx, |engine, name| engine.delete_queue(name)),
            "PurgeQueue" => self.with_queue(cx, |engine, name| engine.purge_queue(name, cx.now_ms)),
            "GetQueueUrl" => self.queue_url(cx),
            "GetQueueAttributes" => self.get_attributes(cx),
            "SetQueueAttributes" => self.set_attributes(cx),
            "ListQueues" => self.list_queues(cx),
            "ListDeadLetterSourceQueues" => self.list_dead_letter_sources(cx),
            "ListQueueTags" | "TagQueue" | "UntagQueue" => self.tags(action, cx),
            "AddPermission"
            | "RemovePermission"
            | "StartMessageMoveTask"
            | "CancelMessageMoveTask"
            | "ListMessageMoveTasks" => Err(SqsError::new(
                Code::UnsupportedOperation,
                format!("{action} is not supported by this server."),
            )),
            _ => Err(SqsError::new(
                Code::UnknownOperation,
                format!("The action {action} is not valid for this endpoint."),
            )),
        }
    }

    fn with_queue(
        &self,
        cx: &Context<'_>,
        run: impl FnOnce(&mut Engine, &str) -> Result<(), SqsError>,
    ) -> Answer {
        let request: QueueRequest<'_> = parse(cx.body)?;
        let name = queue_name(request.queue_url.as_ref())?;
        self.with_engine(|engine| run(engine, name))?;
        Ok(Vec::new())
    }

    fn send(&self, cx: &Context<'_>) -> Answer {
        let mut request: SendMessage<'_> = parse(cx.body)?;
        let url = request.queue_url.take();
        let name = queue_name(url.as_ref())?;
        let message = request.into_message()?;
        let accepted = self.with_engine(|engine| engine.send(name, message, false, cx.now_ms))?;
        Ok(json(&SentAnswer::new(None, accepted)))
    }

    fn delete(&self, cx: &Context<'_>) -> Answer {
        let request: HandleEntry<'_> = parse(cx.body)?;
        let name = queue_name(request.queue_url.as_ref())?;
        let handle = required(request.receipt_handle.as_deref(), "ReceiptHandle")?;
        self.with_engine(|engine| engine.delete(name, handle, cx.now_ms))?;
        Ok(Vec::new())
    }

    fn change_visibility(&self, cx: &Context<'_>) -> Answer {
        let request: HandleEntry<'_> = parse(cx.body)?;
        let name = queue_name(request.queue_url.as_ref())?;
        let handle = required(request.receipt_handle.as_deref(), "ReceiptHandle")?;
        let timeout = required(request.visibility_timeout, "VisibilityTimeout")?;
        self.with_engine(|engine| engine.change_visibility(name, handle, timeout, cx.now_ms))?;
        Ok(Vec::new())
    }

    async fn receive(self: &Arc<Self>, cx: &Context<'_>) -> Answer {
        let request: ReceiveMessage<'_> = parse(cx.body)?;
        let name = queue_name(request.queue_url.as_ref())?;
        let asked_s = request.wait_time_seconds.map(check_wait).transpose()?;
        let mut system = request.attribute_names.unwrap_or_default();
        system.extend(request.message_system_attribute_names.unwrap_or_default());
        let filter = Filter {
            system,
            message: request.message_attribute_names.unwrap_or_default(),
        };
        let mut how = Receive {
            max: request.max_number_of_messages,
            visibility_s: request.visibility_timeout,
            long_poll: false,
            copy: cx.plan.deliver_twice,
        };
        let (wait_s, mut messages) = self.with_engine(|engine| {
            let queue = engine.queue(name).ok_or_else(SqsError::no_such_queue)?;
            let wait_s = asked_s.unwrap_or(queue.settings.wait_s);
            how.long_poll = wait_s > 0;
            if cx.plan.empty_receive {
                return Ok((0, Vec::new()));
            }
            engine
                .receive(name, how, cx.now_ms)
                .map(|messages| (wait_s, messages))
        })?;
        if messages.is_empty() && wait_s > 0 {
            let this = Arc::clone(self);
            let name = name.to_owned();
            let until_ms = cx.now_ms + wait_s * 1000;
            let poll = async move { this.poll(&name, how, until_ms).await };
            messages = if self.orphan_polls {
                // A task of its own: dropping this future (the client hung up) does not end it.
                match tokio::spawn(poll).await {
                    Ok(polled) => polled?,
                    Err(_) => Vec::new(),
                }
            } else {
                poll.await?
            };
        }
        Ok(json(&Received {
            messages: &messages,
            filter: &filter,
        }))
    }

    /// Waits for messages until `until_ms`, or until the server stops.
    async fn poll(
        &self,
        name: &str,
        how: Receive,
        until_ms: u64,
    ) -> Result<Vec<super::engine::Delivered>, SqsError> {
        let number = self
            .with_engine(|engine| engine.queue(name).map(|queue| queue.number))
            .ok_or_else(SqsError::no_such_queue)?;
        let waiting = Counted::new(Arc::clone(lock(&self.waiting).entry(number).or_default()));
        loop {
            let mut woken = std::pin::pin!(waiting.0.wake.notified());
            // Listening before looking, so that nothing that happens in between is missed.
            woken.as_mut().enable();
            let now_ms = self.clock.now_ms();
            let (messages, next_ms) = self.with_engine(|engine| {
                let messages = engine.receive(name, how, now_ms)?;
                let next_ms = engine.queue(name).and_then(|queue| queue.next_event_ms());
                Ok((messages, next_ms))
            })?;
            if !messages.is_empty() || now_ms >= until_ms {
                return Ok(messages);
            }
            let look_again_ms = next_ms.map_or(until_ms, |ms| ms.min(until_ms));
            tokio::select! {
                () = woken => {}
                () = self.clock.sleep_until(look_again_ms) => {}
                () = self.stop.cancelled() => return Ok(Vec::new()),
            }
        }
    }

    fn date(&self) -> Option<HeaderValue> {
        let now_s = self.clock.now_ms() / 1000;
        let mut cached = lock(&self.date);
        if cached.1.is_none() || cached.0 != now_s {
            *cached = (now_s, HeaderValue::from_str(&http_date(now_s)).ok());
        }
        cached.1.clone()
    }

    fn respond(&self, answer: Answer) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        match answer {
            Ok(body) => *response.body_mut() = Full::new(Bytes::from(body)),
            Err(error) => {
                *response.status_mut() = StatusCode::from_u16(error.code.status())
                    .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let fault = if error.code.sender_fault() {
                    "Sender"
                } else {
                    "Receiver"
                };
                let query_error = format!("{};{fault}", error.code.query_code());
                if let Ok(value) = HeaderValue::from_str(&query_error) {
                    response.headers_mut().insert(QUERY_ERROR, value);
                }
                *response.body_mut() = Full::new(Bytes::from(json(&ErrorAnswer {
                    type_name: &error.code.type_name(),
                    message: &error.message,
                })));
            }
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        let mut id = [0; uuid::fmt::Hyphenated::LENGTH];
        let id = Uuid::new_v4().hyphenated().encode_lower(&mut id);
        if let Ok(id) = HeaderValue::from_str(id) {
            headers.insert(REQUEST_ID, id);
        }
        if let Some(date) = self.date() {
            headers.insert(DATE, date);
        }
        response
    }
}

impl Handler for Service {
    async fn handle(self: Arc<Self>, head: Parts, body: Bytes) -> Option<Response<Full<Bytes>>> {
        let arrived = self.latency.arrive();
        let action = match check_head(&head) {
            Ok(action) => action,
            Err(error) => return Some(self.respond(Err(error))),
        };
        let queue = if self.faults.any() {
            named_queue(&body)
        } else {
            None
        };
        let plan = self.faults.apply(&Call {
            service: Endpoint::Sqs,
            action,
            queue: queue.as_deref(),
            access_key: access_key(&head.headers),
            body: &body,
        });
        self.latency.there(&arrived, plan.delay_before).await;
        if plan.drop_before {
            return None;
        }
        let mut answer = match &plan.error {
            Some((status, code)) => Err(injected(*status, code)),
            None => {
                let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
                let cx = Context {
                    body: if body.is_empty() { b"{}" } else { &body },
                    plan: &plan,
                    host: host.unwrap_or(&self.address),
                    now_ms: self.clock.now_ms(),
                };
                self.act(action, &cx).await
            }
        };
        self.latency.back(&arrived, plan.delay_after).await;
        if plan.drop_after {
            return None;
        }
        if let Some((status, code)) = &plan.error_after {
            answer = Err(injected(*status, code));
        }
        Some(self.respond(answer))
    }
}

/// Locks; a panic elsewhere while it was held is no reason to stop serving.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn injected(status: u16, code: &str) -> SqsError {
    SqsError::new(
        Code::Injected(code.to_owned(), status),
        format!("{code} (injected)"),
    )
}

/// The action a request asks for, once its method, target, type and authorization are as AWS wants them.
fn check_head(head: &Parts) -> Result<&str, SqsError> {
    fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
    let unknown = |message: &str| Err(SqsError::new(Code::UnknownOperation, message));
    let Some(action) = header(&head.headers, "x-amz-target").strip_prefix("AmazonSQS.") else {
        return unknown(
            "This server speaks the AWS JSON 1.0 protocol only: X-Amz-Target must be AmazonSQS.<Action>.",
        );
    };
    if head.method != Method::POST {
        return unknown("Only POST is valid for this endpoint.");
    }
    let content_type = header(&head.headers, CONTENT_TYPE.as_str());
    if content_type.split(';').next().map(str::trim) != Some("application/x-amz-json-1.0") {
        return unknown("Content-Type must be application/x-amz-json-1.0.");
    }
    if !head.headers.contains_key(AUTHORIZATION) {
        return Err(SqsError::new(
            Code::MissingAuthenticationToken,
            "Request is missing Authentication Token",
        ));
    }
    Ok(action)
}

/// The name of the queue a request is about, for the fault rules.
fn named_queue(body: &[u8]) -> Option<String> {
    let request: QueueRequest<'_> = serde_json::from_slice(body).ok()?;
    match (&request.queue_url, request.queue_name) {
        (None, name) => name.map(Cow::into_owned),
        (url, _) => queue_name(url.as_ref()).ok().map(str::to_owned),
    }
}

pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, SqsError> {
    // Where in the request it went wrong is said, what stands there is not.
    serde_json::from_slice(body).map_err(|e| {
        SqsError::new(
            Code::Serialization,
            format!(
                "The request body is not what the action takes (column {}).",
                e.column()
            ),
        )
    })
}

pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    // Serialising these shapes into memory has no way to fail.
    serde_json::to_vec(value).unwrap_or_default()
}

pub(super) fn required<T>(value: Option<T>, parameter: &str) -> Result<T, SqsError> {
    value.ok_or_else(|| SqsError::missing(parameter))
}

/// The queue's name in a queue URL. The host is not looked at: it depends on how the client reaches the server.
pub(super) fn queue_name<'a>(url: Option<&'a Cow<'_, str>>) -> Result<&'a str, SqsError> {
    let url: &str = required(url, "QueueUrl")?;
    let path = url
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once('/'))
        .map(|(_, path)| path);
    match path.and_then(|path| path.split_once('/')) {
        Some((ACCOUNT, name)) if !name.is_empty() && !name.contains('/') => Ok(name),
        Some((_, name)) if !name.is_empty() && !name.contains('/') => {
            Err(SqsError::no_such_queue())
        }
        _ => Err(SqsError::new(
            Code::InvalidAddress,
            format!("The address {url} is not valid for this endpoint."),
        )),
    }
}
