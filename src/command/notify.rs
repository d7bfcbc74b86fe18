//! Tells people how a run ended, through a Slack incoming webhook. The webhook's URL is a secret: it is in no line and no error of
//! this program.

use std::fmt::Write as _;
use std::time::Duration;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;

use super::Failure;
use crate::config::Secret;
use crate::exit::ExitCode;
use crate::plan::{ProcessPlan, RoutePlan};
use crate::report::{Report, RouteReport};

/// The longest that telling people may delay the end of a process: with the default grace (25 s) and a last look (1 s) there is an end before
/// the SIGKILL that containers get 30 s after their SIGTERM.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// Why nobody was told. Its words never hold the URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotifyError {
    /// The webhook's URL is none.
    #[error("the webhook's URL is not one")]
    Url,
    /// No answer in time.
    #[error("the webhook did not answer within {0:?}")]
    Late(Duration),
    /// No connection, or it broke.
    #[error("the webhook cannot be reached")]
    Unreachable,
    /// An answer that says no.
    #[error("the webhook answered with HTTP status {0}")]
    Status(u16),
}

/// Tells people how the run ended, if that was asked for. What fails of it is a warning in the log, nothing else.
pub async fn of_result(process: &ProcessPlan, routes: &[RoutePlan], report: &Report) {
    if report.exit() != ExitCode::Drained || process.notify_success {
        tell(process, &result_text(routes, report)).await;
    }
}

/// Tells people that nothing was started.
pub async fn of_failure(process: &ProcessPlan, routes: &[RoutePlan], failure: &Failure) {
    tell(process, &failure_text(routes, failure)).await;
}

async fn tell(process: &ProcessPlan, text: &str) {
    let Some(webhook) = &process.slack_webhook else {
        return;
    };
    if let Err(error) = post(webhook, text, PATIENCE).await {
        tracing::warn!(%error, "nobody was told how the run ended");
    }
}

/// Posts a text to an incoming webhook, in at most `patience`.
///
/// # Errors
/// See [`NotifyError`].
pub async fn post(webhook: &Secret, text: &str, patience: Duration) -> Result<(), NotifyError> {
    let body = serde_json::json!({ "text": text }).to_string();
    let mut request = HttpRequest::new(SdkBody::from(body));
    request
        .set_uri(webhook.expose())
        .map_err(|_| NotifyError::Url)?;
    request.set_method("POST").map_err(|_| NotifyError::Url)?;
    request
        .headers_mut()
        .insert("content-type", "application/json");
    let connector = Connector::builder()
        .proxy_config(ProxyConfig::from_env())
        .tls_provider(tls::Provider::Rustls(
            tls::rustls_provider::CryptoMode::AwsLc,
        ))
        .build();
    let answer = tokio::time::timeout(patience, connector.call(request))
        .await
        .map_err(|_| NotifyError::Late(patience))?;
    // A connector's error tells the address it was for: its words stay here.
    let answer = answer.map_err(|error| match error.is_timeout() {
        true => NotifyError::Late(patience),
        false => NotifyError::Unreachable,
    })?;
    match answer.status().as_u16() {
        200..=299 => Ok(()),
        status => Err(NotifyError::Status(status)),
    }
}

/// What is said of a process's result.
pub fn result_text(routes: &[RoutePlan], report: &Report) -> String {
    let mut text = String::new();
    for (name, route) in &report.routes {
        // A route that went well is told beside others only where success is told too, or nothing else is.
        if route.exit == ExitCode::Drained && report.exit() != ExitCode::Drained {
            continue;
        }
        let plan = routes.iter().find(|r| r.name == *name);
        // Writing to a String cannot fail.
        let _ = write_route(name, route, plan, report, &mut text);
    }
    text
}

fn write_route(
    name: &str,
    route: &RouteReport,
    plan: Option<&RoutePlan>,
    report: &Report,
    out: &mut String,
) -> std::fmt::Result {
    let sign = match route.exit {
        ExitCode::Drained => ":white_check_mark:",
        _ => ":warning:",
    };
    let shard = match report.shard.of {
        1 => String::new(),
        of => format!(", shard {} of {of}", report.shard.index),
    };
    writeln!(
        out,
        "{sign} *sqs-drain: route {}{shard}: {}* (exit code {})",
        plain(name),
        route.outcome,
        route.exit.code()
    )?;
    if let Some(message) = &route.message {
        writeln!(out, "{}", plain(message))?;
    }
    let t = &route.totals;
    writeln!(
        out,
        "{} received = {} sent + {} deduplicated + {} rejected + {} held + {} released + {} in doubt{}; {} possible duplicates",
        t.received,
        t.sent,
        t.deduplicated,
        t.rejected,
        t.held,
        t.released,
        t.in_doubt,
        if route.balanced {
            ""
        } else {
            " (does not balance)"
        },
        t.possible_duplicates,
    )?;
    if let Some(left) = route.remaining {
        writeln!(
            out,
            "Left in the source: {} visible, {} in flight, {} delayed",
            left.visible, left.in_flight, left.delayed
        )?;
    }
    let (next, command) = next_step(route, plan);
    if let Some(next) = next {
        writeln!(out, "Next: {}", plain(next))?;
    }
    if let Some(command) = command {
        writeln!(out, "`{}`", plain(&command))?;
    }
    Ok(())
}

/// What to do after a route's end, and the command for it.
fn next_step(
    route: &RouteReport,
    plan: Option<&RoutePlan>,
) -> (Option<&'static str>, Option<String>) {
    let table = plan.and_then(|p| match &p.journal {
        crate::plan::Journal::Table(table) => Some(table.as_str()),
        crate::plan::Journal::None => None,
    });
    let with_table = |words: &str| {
        let (run, table) = (route.run_id.as_deref()?, table?);
        Some(super::words::command(words, run, table))
    };
    match route.exit {
        ExitCode::Drained => (None, None),
        ExitCode::FinishedWithRejects => (
            match route.totals.held {
                0 => Some("look at what was rejected, and why"),
                _ => Some("look at the reject and hold queues, and settle what is held"),
            },
            with_table(match route.totals.held {
                0 => "status --json",
                _ => "doubts list",
            }),
        ),
        ExitCode::OutsideWindow => (
            Some(
                "start it again inside the window; sqs-drain explain with the job's settings says why it is shut now",
            ),
            None,
        ),
        ExitCode::WindowClosed => (
            Some("the next opening goes on; raise the rate or add shards if this repeats"),
            with_table("status"),
        ),
        ExitCode::Interrupted | ExitCode::Unavailable => (
            Some(
                "if the scheduler does not retry it, start the same job again: it goes on where it was",
            ),
            with_table("status"),
        ),
        ExitCode::Refused => (
            Some("change what the line says, then start the same job again"),
            with_table("status"),
        ),
        ExitCode::Failed => (
            Some("look at the log and at the run before starting it again"),
            with_table("status"),
        ),
    }
}

/// What is said when nothing was started.
pub fn failure_text(routes: &[RoutePlan], failure: &Failure) -> String {
    let names: Vec<&str> = routes.iter().map(|r| r.name.as_str()).collect();
    let next = match failure.exit.retryable() {
        true => "if the scheduler does not retry it, start the same job again",
        false => {
            "change what the line says, look with `sqs-drain check` and the job's settings, then start the same job again"
        }
    };
    format!(
        ":warning: *sqs-drain: {}: {}, nothing was moved* (exit code {})\n{}\nNext: {next}\n",
        plain(&names.join(", ")),
        failure.exit.outcome(),
        failure.exit.code(),
        plain(&failure.line),
    )
}

/// Text without Slack's own signs (Slack API, "Escaping text").
fn plain(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
