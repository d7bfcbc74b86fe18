//! The Slack message, against an HTTP server that takes it, one that refuses, and one that hangs.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use sqs_drain::command::notify::{NotifyError, post};
use sqs_drain::config::Secret;
use sqs_drain::local::{EntryFault, Rule};

use crate::binary::harness::PATIENCE;
use crate::binary::world::{WAIT, World, samples};

/// What makes the URL a secret.
const TOKEN: &str = "T000SECRET";

/// A server for one request: answers it with `status`, and tells the request.
fn server(status: u16) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a caller");
        let request = read_request(&mut stream);
        let answer = format!("HTTP/1.1 {status} Word\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).expect("answered");
        tell.send(request).expect("heard");
    });
    (format!("http://{address}/services/{TOKEN}"), told)
}

/// Head and body of a request.
fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut some = [0; 4096];
    loop {
        let n = stream.read(&mut some).expect("bytes");
        bytes.extend_from_slice(&some[..n]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            assert!(n > 0, "a whole request");
            continue;
        };
        let length = head
            .lines()
            .find_map(|l| {
                l.to_ascii_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse()
                    .ok()
            })
            .unwrap_or(0);
        if body.len() >= length {
            return text;
        }
    }
}

#[tokio::test]
async fn a_run_that_does_not_end_well_is_told() {
    let world = World::start().await;
    world.queue("reject", &[]);
    world.park(WAIT, samples(5));
    let rule = Rule::sqs("SendMessageBatch").queue("schedule");
    world.endpoints.add_rule(rule.fail_entries(|entry| {
        (entry.index == 0).then(|| EntryFault::new("InvalidMessageContents", true))
    }));
    let (url, told) = server(200);
    let env = [("SQS_DRAIN_SLACK_WEBHOOK", url.as_str())];
    let ended = world
        .run_in(
            &["--run-id", "r", "--reject", "reject", "--lanes", "1"],
            &env,
        )
        .ended()
        .await
        .exits(5);
    assert!(!ended.stderr.contains(TOKEN), "{}", ended.stderr);
    let request = told.recv_timeout(PATIENCE).expect("a message");
    assert!(
        request.starts_with(&format!("POST /services/{TOKEN} ")),
        "{request}"
    );
    let body = request.split_once("\r\n\r\n").expect("a body").1;
    let text: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let text = text["text"].as_str().expect("a text");
    for part in [
        "route default: finished_with_rejects",
        "exit code 5",
        "5 received =",
        "look at what was rejected",
        "sqs-drain status --json r --table checkpoints",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn what_was_refused_before_it_began_is_told_too_and_success_only_when_asked() {
    let world = World::start().await;
    let (url, told) = server(500);
    let env = [("SQS_DRAIN_SLACK_WEBHOOK", url.as_str())];
    let ended = world
        .run_in(&["--from", "nowhere"], &env)
        .ended()
        .await
        .exits(2);
    let request = told.recv_timeout(PATIENCE).expect("a message");
    assert!(request.contains("'nowhere' does not exist"), "{request}");
    // The server said no: a warning, without the address.
    assert!(ended.stderr.contains("HTTP status 500"), "{}", ended.stderr);
    assert!(!ended.stderr.contains(TOKEN), "{}", ended.stderr);

    let (url, told) = server(200);
    let env = [("SQS_DRAIN_SLACK_WEBHOOK", url.as_str())];
    world.run_in(&[], &env).ended().await.exits(0);
    assert!(told.try_recv().is_err(), "nobody asked for that");
    world
        .run_in(&["--notify-success"], &env)
        .ended()
        .await
        .exits(0);
    assert!(
        told.recv_timeout(PATIENCE)
            .expect("a message")
            .contains("route default: drained")
    );
}

#[tokio::test]
async fn a_server_that_is_gone_is_a_warning_without_the_address() {
    let world = World::start().await;
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let url = format!("http://{address}/services/{TOKEN}");
    let env = [("SQS_DRAIN_SLACK_WEBHOOK", url.as_str())];
    let ended = world
        .run_in(&["--notify-success"], &env)
        .ended()
        .await
        .exits(0);
    assert!(
        ended.stderr.contains("the webhook cannot be reached"),
        "{}",
        ended.stderr
    );
    assert!(
        !ended.stderr.contains(TOKEN) && !ended.stderr.contains(&address.to_string()),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_on() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let url = Secret::new(format!("http://{address}/services/{TOKEN}"));
    let patience = Duration::from_millis(20);
    // It is connected to (the listener's backlog), and never answers.
    let error = post(&url, "text", patience).await.expect_err("no answer");
    assert_eq!(error, NotifyError::Late(patience));
    assert!(!error.to_string().contains(TOKEN));
    assert_eq!(
        post(&Secret::new("http://a b"), "text", patience).await,
        Err(NotifyError::Url)
    );
    drop(listener);
}
