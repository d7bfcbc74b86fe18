//! The rules of the house: who may know of whom. Data flows one way, pure modules stay pure.

use std::path::{Path, PathBuf};

/// The source files of a module: `src/<name>.rs` and everything under `src/<name>/`.
fn files_of(module: &str) -> Vec<PathBuf> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![src.join(format!("{module}.rs"))];
    let mut folders = vec![src.join(module)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    files.retain(|f| f.exists());
    assert!(!files.is_empty(), "there is no module {module}");
    files
}

/// The lines of a file that are neither comments nor in its unit tests.
fn code_of(file: &Path) -> Vec<(usize, String)> {
    let text = std::fs::read_to_string(file).expect("a readable source file");
    text.lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line.trim().to_owned()))
        .take_while(|(_, line)| line != "mod tests {")
        .filter(|(_, line)| !line.starts_with("//"))
        .collect()
}

fn names(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + path.len()..].chars().next();
        let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !joins(before) && !joins(after)
    })
}

/// Says where modules name what they must not.
fn trespasses(modules: &[&str], forbidden: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for module in modules {
        for file in files_of(module) {
            if file.ends_with("tests.rs") {
                continue;
            }
            for (number, line) in code_of(&file) {
                for path in forbidden {
                    if names(&line, path) {
                        found.push(format!("{}:{number}: {path}: {line}", file.display()));
                    }
                }
            }
        }
    }
    found
}

fn holds(modules: &[&str], forbidden: &[&str]) {
    let found = trespasses(modules, forbidden);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

const SDK: [&str; 4] = [
    "aws_sdk_sqs",
    "aws_sdk_dynamodb",
    "aws_config",
    "crate::aws",
];

#[test]
fn pure_modules_stay_pure() {
    let pure = [
        "window", "message", "journal", "plan", "refusal", "config", "exit", "report",
    ];
    holds(&pure, &["tokio", "tracing", "governor"]);
    holds(&pure, &SDK);
}

#[test]
fn the_drain_knows_neither_aws_nor_the_command_line() {
    let inner = ["drain", "ledger", "pace", "stop", "port"];
    holds(&inner, &SDK);
    holds(
        &inner,
        &[
            "clap",
            "crate::cli",
            "crate::config",
            "crate::command",
            "crate::local",
        ],
    );
    holds(
        &inner,
        &[
            "std::env",
            "Utc::now",
            "Local::now",
            "Instant::now",
            "SystemTime::now",
        ],
    );
}

#[test]
fn adapters_do_not_know_what_they_are_used_for() {
    holds(
        &["aws"],
        &[
            "crate::drain",
            "crate::ledger",
            "crate::journal",
            "crate::command",
            "crate::local",
        ],
    );
}

#[test]
fn the_embedded_endpoints_know_nothing_of_draining() {
    let worker = [
        "crate::drain",
        "crate::ledger",
        "crate::journal",
        "crate::port",
        "crate::message",
        "crate::aws",
        "crate::plan",
        "crate::command",
    ];
    holds(&["local"], &worker);
}

#[test]
fn only_the_window_knows_time_zones() {
    let others = [
        "aws", "cli", "command", "config", "drain", "exit", "journal", "ledger", "message", "pace",
        "plan", "port", "refusal", "report", "stop", "main", "local",
    ];
    holds(&others, &["chrono_tz"]);
}

#[test]
fn only_the_command_line_reads_the_environment() {
    let others = [
        "aws", "config", "drain", "exit", "journal", "ledger", "message", "pace", "plan", "port",
        "refusal", "report", "stop", "window", "local",
    ];
    holds(
        &others,
        &["env::var", "env::vars", "env::var_os", "env::vars_os"],
    );
}

#[test]
fn a_trespass_is_found() {
    assert!(!trespasses(&["window"], &["chrono_tz"]).is_empty());
    assert!(!trespasses(&["aws"], &["aws_sdk_sqs"]).is_empty());
    assert!(names("use tokio::sync;", "tokio"));
    assert!(!names("use tokio_util::sync;", "tokio"));
}
