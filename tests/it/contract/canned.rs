//! A server that answers as it is told, for answers no honest server can be made to give.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A running canned server; it ends with its runtime.
pub struct Canned {
    /// Where it is.
    pub url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Canned {
    /// Answers requests, in order, with these statuses and bodies, each on a connection of its own; after the last
    /// one connections are refused.
    pub async fn new(answers: Vec<(u16, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut request = Vec::new();
                while !complete(&request) {
                    let read = stream.read_buf(&mut request).await.expect("a request");
                    assert!(read > 0, "the request ends early");
                }
                let request = String::from_utf8_lossy(&request).into_owned();
                seen.lock().expect("no panic while held").push(request);
                let answer = format!(
                    "HTTP/1.1 {status} Answer\r\ncontent-type: application/x-amz-json-1.0\r\n\
                     content-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream
                    .write_all(answer.as_bytes())
                    .await
                    .expect("the client reads");
            }
        });
        Self { url, requests }
    }

    /// The requests so far, head and body.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic while held").clone()
    }
}

/// Whether head and body have arrived.
fn complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, _)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, length)| length.trim().parse::<usize>().ok())
        .unwrap_or(0);
    request.len() >= head.len() + 4 + length
}
