use std::collections::BTreeSet;

use super::*;

fn read(words: &[&str]) -> Result<Command, clap::Error> {
    let words = ["sqs-drain"].iter().chain(words);
    Cli::read(words).map(|cli| cli.command)
}

#[test]
fn the_command_is_well_formed() {
    command().debug_assert();
}

/// The flags of `run` and what their help says.
fn run_flags() -> Vec<(String, String)> {
    let command = command();
    let run = command.find_subcommand("run").unwrap();
    run.get_arguments()
        .filter_map(|arg| {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            Some((arg.get_long()?.to_owned(), help))
        })
        .collect()
}

#[test]
fn every_setting_is_a_flag_and_every_flag_a_setting() {
    let flags: BTreeSet<String> = run_flags().into_iter().map(|(flag, _)| flag).collect();
    let mut settings: BTreeSet<String> =
        KEYS.iter().map(|key| key.name.replace('_', "-")).collect();
    settings.insert("config".to_owned());
    assert_eq!(flags, settings);
}

#[test]
fn every_flag_reaches_its_setting() {
    for key in KEYS {
        let flag = crate::config::flag_name(key.name);
        let word = match key.kind {
            crate::config::Kind::Switch => flag,
            _ => format!("{flag}=7"),
        };
        let Ok(Command::Run(args)) = read(&["run", &word]) else {
            panic!("{word} is not understood");
        };
        let settings = args.settings.settings();
        let written: Vec<&str> = KEYS
            .iter()
            .map(|key| key.name)
            .filter(|name| settings.get(name).is_some())
            .collect();
        assert_eq!(written, [key.name]);
    }
}

#[test]
fn the_help_of_run_ends_with_the_exit_codes() {
    let help = match Cli::read(["sqs-drain", "run", "--help"]) {
        Ok(_) => panic!("no help"),
        Err(help) => help.to_string(),
    };
    let (_, codes) = help.split_once("\nExit codes:\n").expect("exit codes");
    let lines: Vec<&str> = codes.trim_end().lines().collect();
    assert_eq!(lines.len(), ExitCode::ALL.len(), "{codes}");
    assert_eq!(lines[0], "  0  drained");
    assert_eq!(lines[6], "  6  interrupted or superseded, resumable");
}

#[test]
fn manual_pages_have_exit_codes_and_a_synopsis_that_can_be_read() {
    let mut page = Vec::new();
    write_man(None, &mut page).expect("a page");
    let place = tempfile::tempdir().expect("a directory");
    write_man(Some(place.path()), &mut std::io::sink()).expect("pages");
    let read = |name: &str| std::fs::read_to_string(place.path().join(name)).expect("a page");
    let whole = String::from_utf8(page).expect("text");
    for page in [&whole, &read("sqs-drain.1"), &read("sqs-drain-run.1")] {
        let (_, codes) = page.split_once(".SH EXIT STATUS\n").expect("a section");
        assert!(
            codes.starts_with(".TP\n\\fB0\\fR\ndrained\n.TP\n"),
            "{codes}"
        );
        assert_eq!(codes.matches(".TP\n").count(), ExitCode::ALL.len());
    }
    let synopsis = |page: &str| {
        let (_, rest) = page.split_once(".SH SYNOPSIS\n").expect("a section");
        rest.lines().next().expect("a line").to_owned()
    };
    assert_eq!(
        synopsis(&read("sqs-drain-run.1")),
        "\\fBsqs\\-drain run\\fR [OPTIONS] [ROUTE]..."
    );
    assert_eq!(
        synopsis(&read("sqs-drain-rate.1")),
        "\\fBsqs\\-drain rate\\fR [OPTIONS] <N> [RUN]"
    );
    assert!(read("sqs-drain-run.1").contains("\\fB\\-\\-from\\fR \\fI<QUEUE>\\fR"));
}

#[test]
fn help_names_every_variable() {
    for (flag, help) in run_flags() {
        let variable = env_name(&flag.replace('-', "_"));
        assert!(
            help.ends_with(&format!("[env: {variable}]")),
            "--{flag}: {help}"
        );
    }
}

#[test]
fn every_sub_command_is_understood() {
    for words in [
        &["run", "wait", "coupon", "--config", "routes.toml"][..],
        &[
            "run",
            "--from",
            "a",
            "--to",
            "b",
            "--to",
            "c",
            "--no-journal",
        ],
        &["init", "--table", "drain"],
        &["plan", "--config", "routes.toml"],
        &[
            "explain",
            "--window",
            "08:00-21:00",
            "--zone",
            "Asia/Seoul",
            "--at",
            "2026-11-23T08:00",
        ],
        &["check", "wait", "--config", "routes.toml"],
        &["status", "--table", "drain", "--json"],
        &["status", "wait@2026-11-23T08:00+09:00", "--table", "drain"],
        &["pause", "--table", "drain", "--from", "wait"],
        &["resume", "--config", "routes.toml", "--route", "wait"],
        &["rate", "250", "--table", "drain", "--from", "wait"],
        &[
            "rate",
            "none",
            "wait@2026-11-23T08:00+09:00",
            "--table",
            "drain",
        ],
        &["doubts", "list", "--table", "drain", "--from", "wait"],
        &[
            "doubts",
            "settle",
            "--send",
            "--all",
            "--config",
            "routes.toml",
            "--route",
            "wait",
        ],
        &[
            "doubts", "settle", "--drop", "id-1", "id-2", "--from", "a", "--to", "b", "--table",
            "drain",
        ],
        &["completions", "bash"],
        &["man"],
    ] {
        if let Err(error) = read(words) {
            panic!("{words:?}: {error}");
        }
    }
}

#[cfg(feature = "local")]
#[test]
fn the_embedded_endpoints_have_their_ports() {
    let Ok(Command::Local(local)) = read(&["local"]) else {
        panic!("local")
    };
    assert_eq!(
        (local.port, local.dynamodb_port, local.latency_ms),
        (9324, 8000, 0)
    );
    let Ok(Command::Demo(demo)) = read(&["demo", "--kill", "--messages", "500"]) else {
        panic!("demo")
    };
    assert!(demo.kill);
    assert_eq!(demo.messages, 500);
}

#[test]
fn wrong_usage_exits_with_2() {
    for words in [
        &["drain"][..],
        &["run", "--raet", "5"],
        &["doubts", "settle", "--all"],
        &["doubts", "settle", "--send", "--drop", "--all"],
        &["doubts", "settle", "--send"],
        &["doubts", "settle", "--send", "--all", "id-1"],
        &["rate"],
        &["run", "--wait-open=maybe"],
    ] {
        let error = read(words).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{words:?}: {error}");
    }
    assert_eq!(read(&["--version"]).unwrap_err().exit_code(), 0);
}

#[test]
fn completions_and_manual_pages_are_written() {
    let mut completions = Vec::new();
    write_completions(clap_complete::Shell::Bash, &mut completions).unwrap();
    let completions = String::from_utf8(completions).unwrap();
    assert!(completions.contains("--start-within"));

    let mut page = Vec::new();
    write_man(None, &mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains(".TH sqs-drain 1"), "{page}");
    let directory = tempfile::tempdir().unwrap();
    write_man(Some(directory.path()), &mut Vec::new()).unwrap();
    assert!(directory.path().join("sqs-drain-run.1").exists());
}

#[test]
fn a_routes_file_that_cannot_be_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("routes.toml");
    let line = read_routes_file(&path).unwrap_err().to_string();
    let start = format!("the routes file {} cannot be read, ", path.display());
    assert!(line.starts_with(&start), "{line}");
    std::fs::write(&path, "[route.wait]\nfrom = 'a'\n").unwrap();
    assert_eq!(read_routes_file(&path).unwrap().routes.len(), 1);
}
