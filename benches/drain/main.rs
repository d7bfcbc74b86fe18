//! `cargo bench --bench drain`: what moving a message costs, compared with the plainest loop over the same SDK.
//!
//! Not a test: it prints figures and fails only when a program fails or messages are missing. `docs/bench.md` says how to
//! read them.

#![allow(
    clippy::disallowed_methods,
    reason = "a bench measures real time and starts programs"
)]

mod measure;
mod server;
mod table;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use measure::{Binaries, Failure, Program, Taken};
use server::Server;

const USAGE: &str = "\
cargo bench --bench drain [-- OPTIONS]
  --full               more messages and rounds, then --memory and --shards
  --messages N         the backlog that is moved back and forth (default 20000, full 100000)
  --rounds N           how often each program has its turn (default 3, full 5)
  --latencies 0,12     milliseconds a request
  --only abc           the programs that take part
  --memory             peak memory at 10,000 and at 500,000 messages
  --shards             1, 2, 4 and 8 processes of one run at 12 ms
  --no-compare         only --memory or --shards
  --no-build           the binaries are there
  --drain PATH         another sqs-drain binary (its server is used too)
  --run-arg ARG        one more argument for `run` (repeatable)
  --under COMMAND      starts `run` under this, such as perf record -g -o FILE (its figures are then those of both)";

/// How many bare loops run at once: what such a program is given to hide a request's latency.
const LOOPS: usize = 16;

struct Options {
    messages: u64,
    rounds: usize,
    latencies_ms: Vec<u64>,
    programs: Vec<Program>,
    compare: bool,
    memory: bool,
    shards: bool,
    build: bool,
    drain: Option<PathBuf>,
    run_args: Vec<String>,
    under: Vec<String>,
}

impl Options {
    fn read(mut args: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options = Self {
            messages: 20_000,
            rounds: 3,
            latencies_ms: vec![0, 12],
            programs: Program::ALL.to_vec(),
            compare: true,
            memory: false,
            shards: false,
            build: true,
            drain: None,
            run_args: Vec::new(),
            under: Vec::new(),
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                // What `cargo bench` adds by itself.
                "--bench" => {}
                "--full" => {
                    (options.messages, options.rounds) = (100_000, 5);
                    (options.memory, options.shards) = (true, true);
                }
                "--messages" => options.messages = value()?.parse()?,
                "--rounds" => options.rounds = value()?.parse()?,
                "--latencies" => {
                    let list = value()?;
                    let parsed = list.split(',').map(str::parse).collect::<Result<_, _>>();
                    options.latencies_ms = parsed?;
                }
                "--only" => {
                    let letters = value()?;
                    options
                        .programs
                        .retain(|p| p.name().chars().nth(1).is_some_and(|l| letters.contains(l)));
                }
                "--memory" => options.memory = true,
                "--shards" => options.shards = true,
                "--no-compare" => options.compare = false,
                "--no-build" => options.build = false,
                "--drain" => options.drain = Some(value()?.into()),
                "--run-arg" => options.run_args.push(value()?),
                "--under" => options.under = value()?.split(' ').map(str::to_owned).collect(),
                _ => return Err(format!("unknown argument {arg}\n{USAGE}").into()),
            }
        }
        Ok(options)
    }
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|a| a == "--help" || a == "-h") {
        println!("{USAGE}");
        return Ok(());
    }
    let options = Options::read(args.into_iter())?;
    let target = target_dir()?;
    let binaries = Binaries {
        drain: match &options.drain {
            Some(path) => path.clone(),
            None => target.join("dist/sqs-drain"),
        },
        bare_loop: target.join("release/examples/bare_loop"),
        loops: LOOPS,
        extra: options.run_args.clone(),
        under: options.under.clone(),
    };
    if options.build {
        if options.drain.is_none() {
            cargo(&["build", "--profile", "dist", "--bin", "sqs-drain"])?;
        }
        cargo(&["build", "--release", "--example", "bare_loop"])?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        if options.compare {
            compare(&options, &binaries).await?;
        }
        if options.memory {
            memory(&binaries).await?;
        }
        if options.shards {
            shards(&options, &binaries).await?;
        }
        Ok(())
    })
}

/// The target directory: this program is `TARGET/release/deps/drain-HASH`.
fn target_dir() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(3).ok_or("where am I?")?;
    Ok(target.to_owned())
}

fn cargo(args: &[&str]) -> Result<(), Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdout(Stdio::null())
        .status()?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("cargo {} failed", args.join(" ")).into()),
    }
}

/// A backlog that runs move back and forth, so that every run has the same messages and none waits for a fill.
struct Shuttle {
    server: Server,
    at: usize,
    messages: u64,
    runs: usize,
}

impl Shuttle {
    async fn new(binaries: &Binaries, latency_ms: u64) -> Result<Self, Failure> {
        Ok(Self {
            server: Server::start(&binaries.drain, latency_ms).await?,
            at: 0,
            messages: 0,
            runs: 0,
        })
    }

    async fn fill(&mut self, messages: u64) -> Result<(), Failure> {
        self.server.fill(self.at, messages).await?;
        self.messages = messages;
        Ok(())
    }

    fn next_run_id(&mut self) -> String {
        self.runs += 1;
        format!("bench-{}", self.runs)
    }

    /// One run; afterwards all messages must be on the other side.
    async fn run(&mut self, binaries: &Binaries, program: Program) -> Result<Taken, Failure> {
        let run_id = self.next_run_id();
        let taken = measure::run(binaries, program, &self.server, self.at, &run_id)?;
        self.arrived().await?;
        Ok(taken)
    }

    async fn arrived(&mut self) -> Result<(), Failure> {
        let left = self.server.count(self.at).await?;
        self.at = 1 - self.at;
        let there = self.server.count(self.at).await?;
        if (left, there) != (0, self.messages) {
            return Err(format!(
                "of {} messages {there} arrived and {left} are left",
                self.messages
            )
            .into());
        }
        Ok(())
    }
}

/// The programs in turns, over the same messages, at each latency.
async fn compare(options: &Options, binaries: &Binaries) -> Result<(), Failure> {
    for latency_ms in &options.latencies_ms {
        let mut shuttle = Shuttle::new(binaries, *latency_ms).await?;
        shuttle.fill(options.messages).await?;
        let mut rounds: Vec<Vec<Taken>> = Vec::new();
        for _ in 0..options.rounds {
            let mut round = Vec::new();
            for program in &options.programs {
                round.push(shuttle.run(binaries, *program).await?);
            }
            rounds.push(round);
        }
        println!(
            "\n{} messages of 1 KiB with two attributes, {latency_ms} ms a request, {} rounds",
            options.messages, options.rounds
        );
        table::comparison(&options.programs, &rounds);
    }
    Ok(())
}

/// Peak memory must not follow the backlog.
async fn memory(binaries: &Binaries) -> Result<(), Failure> {
    let mut shuttle = Shuttle::new(binaries, 0).await?;
    println!("\npeak resident memory, 0 ms a request");
    for messages in [10_000, 500_000] {
        shuttle.fill(messages).await?;
        for program in Program::ALL {
            let taken = shuttle.run(binaries, program).await?;
            println!(
                "{messages:>8} messages  {:<22} {:>6.1} MB",
                program.name(),
                taken.resident_mb
            );
        }
    }
    Ok(())
}

/// Several processes of one run, each with the same share of work.
async fn shards(options: &Options, binaries: &Binaries) -> Result<(), Failure> {
    let mut shuttle = Shuttle::new(binaries, 12).await?;
    println!(
        "\nprocesses of one run, 12 ms a request, {} messages each",
        options.messages
    );
    for processes in [1, 2, 4, 8] {
        shuttle.fill(options.messages * processes).await?;
        let run_id = shuttle.next_run_id();
        let began = Instant::now();
        let running: Vec<_> = (0..processes)
            .map(|_| measure::command(binaries, Program::Run, &shuttle.server, shuttle.at, &run_id))
            .map(|command| {
                std::thread::spawn(|| measure::watch(command).map_err(|error| error.to_string()))
            })
            .collect();
        // Until the source is empty: how long the processes then look at it is a setting, not their speed.
        while shuttle.server.count(shuttle.at).await? > 0 {
            if running.iter().all(std::thread::JoinHandle::is_finished) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let seconds = began.elapsed().as_secs_f64();
        let mut sum = Taken::default();
        for process in running {
            let ended = process.join().map_err(|_| "a thread panicked")??;
            let taken = measure::read(Program::Run, &ended.output)?;
            sum.messages += taken.messages;
            sum.cpu_s += ended.cpu_s;
            sum.sqs += taken.sqs;
            sum.writes += taken.writes;
            sum.reads += taken.reads;
        }
        shuttle.arrived().await?;
        println!(
            "{processes} processes: {:>7.0} messages/s, {:>5.1} us CPU, {:.3} SQS requests, {:.4} writes, {:.4} reads a message",
            sum.messages / seconds,
            sum.cpu_s * 1e6 / sum.messages,
            sum.sqs / sum.messages,
            sum.writes / sum.messages,
            sum.reads / sum.messages,
        );
    }
    Ok(())
}
