//! One run of one program over one backlog, and what it took.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::server::{Server, TABLE};

/// Why the bench gave up.
pub type Failure = Box<dyn std::error::Error>;

/// The three that are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// (a) the bare loop.
    Bare,
    /// (b) `run` with its table.
    Run,
    /// (c) `run --no-journal`.
    NoJournal,
}

impl Program {
    /// All, in the order they take turns.
    pub const ALL: [Self; 3] = [Self::Bare, Self::Run, Self::NoJournal];

    /// The name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "(a) bare loop",
            Self::Run => "(b) run --table",
            Self::NoJournal => "(c) run --no-journal",
        }
    }
}

/// The binaries under measurement.
pub struct Binaries {
    /// `sqs-drain` as it ships.
    pub drain: PathBuf,
    /// The bare loop.
    pub bare_loop: PathBuf,
    /// How many loops it runs at once.
    pub loops: usize,
    /// More arguments for `run`.
    pub extra: Vec<String>,
    /// A command (a profiler) that starts `run`.
    pub under: Vec<String>,
}

/// What one run took.
#[derive(Clone, Copy, Default)]
pub struct Taken {
    /// Messages moved.
    pub messages: f64,
    /// User and system time of the process from its start to its end, in seconds.
    pub cpu_s: f64,
    /// The same of the server meanwhile.
    pub server_cpu_s: f64,
    /// Messages a second between the first and the last send.
    pub per_second: f64,
    /// SQS requests.
    pub sqs: f64,
    /// DynamoDB writes.
    pub writes: f64,
    /// DynamoDB reads.
    pub reads: f64,
    /// The most memory resident, in MB (10^6 bytes).
    pub resident_mb: f64,
}

/// Moves everything queue `from` of the server holds to the other one.
pub fn run(
    binaries: &Binaries,
    program: Program,
    server: &Server,
    from: usize,
    run_id: &str,
) -> Result<Taken, Failure> {
    let before = server.cpu_s()?;
    let command = command(binaries, program, server, from, run_id);
    let ended = watch(command)?;
    let mut taken = read(program, &ended.output)?;
    taken.cpu_s = ended.cpu_s;
    taken.resident_mb = ended.resident_mb;
    taken.server_cpu_s = server.cpu_s()? - before;
    Ok(taken)
}

/// The command line of a run.
pub fn command(
    binaries: &Binaries,
    program: Program,
    server: &Server,
    from: usize,
    run_id: &str,
) -> Command {
    let (from, to) = (server.url(from), server.url(1 - from));
    let mut command = match program {
        Program::Bare => {
            let mut command = Command::new(&binaries.bare_loop);
            command.args([from, to, &binaries.loops.to_string()]);
            command
        }
        Program::Run | Program::NoJournal => {
            let mut words = binaries.under.iter().map(AsRef::<OsStr>::as_ref);
            let mut command = Command::new(words.next().unwrap_or(binaries.drain.as_os_str()));
            command.args(words);
            if !binaries.under.is_empty() {
                command.arg(&binaries.drain);
            }
            command.args(["run", "--from", from, "--to", to, "--window", "always"]);
            // All settings are the defaults, but for how long an empty queue is looked at before the run may end.
            command.args(["--settle", "600ms", "--poll", "1s"]);
            command.args(["--run-id", run_id, "--log-level", "error"]);
            match program {
                Program::NoJournal => command.arg("--no-journal"),
                _ => command.args(["--table", TABLE]),
            };
            command.args(&binaries.extra);
            command
        }
    };
    let environment = server.environment().iter().map(|(n, v)| (n, v));
    command.envs(environment).stdout(Stdio::piped());
    command
}

/// What a process left behind.
pub struct Ended {
    /// Its standard output.
    pub output: String,
    /// User and system time, in seconds.
    pub cpu_s: f64,
    /// The most memory resident, in MB.
    pub resident_mb: f64,
}

/// Runs a process to its end.
///
/// # Errors
/// When it cannot be started or does not exit with 0.
pub fn watch(mut command: Command) -> Result<Ended, Failure> {
    let mut child = command.spawn()?;
    let pid = child.id();
    let mut stdout = child.stdout.take().ok_or("no stdout")?;
    let ended = AtomicBool::new(false);
    let mut output = String::new();
    let (resident_mb, read) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut peak_kib = 0;
            while !ended.load(Ordering::Relaxed) {
                // The kernel keeps the peak, so the last sample tells it. (`ru_maxrss` would also count the memory of the
                // process that started it.)
                peak_kib = peak_kib.max(high_water_kib(pid).unwrap_or(0));
                std::thread::sleep(Duration::from_millis(20));
            }
            peak_kib as f64 * 1024.0 / 1e6
        });
        let read = stdout.read_to_string(&mut output);
        ended.store(true, Ordering::Relaxed);
        (sampler.join().unwrap_or(0.0), read)
    });
    read?;
    let (status, cpu_s) = wait(pid)?;
    if status != 0 {
        return Err(format!("{:?} ended with status {status}", command.get_program()).into());
    }
    Ok(Ended {
        output,
        cpu_s,
        resident_mb,
    })
}

fn high_water_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Waits for a child: its status and the CPU time it took.
fn wait(pid: u32) -> Result<(i32, f64), Failure> {
    let pid = libc::pid_t::try_from(pid)?;
    let mut status = 0;
    // SAFETY: an all-zero rusage is a valid one.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to writable values that outlive the call, and nobody else waits for this child.
    if unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) } != pid {
        return Err(std::io::Error::last_os_error().into());
    }
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok((status, seconds(usage.ru_utime) + seconds(usage.ru_stime)))
}

/// The CPU time a process has used so far, in seconds (`/proc/PID/stat`, fields 14 and 15; to a tick).
pub fn cpu_of(pid: u32) -> Result<f64, Failure> {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"))?;
    let (_, fields) = stat.rsplit_once(')').ok_or("unreadable /proc/PID/stat")?;
    let ticks = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse::<f64>)
        .sum::<Result<f64, _>>()?;
    // SAFETY: no pointers are involved.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Ok(ticks / per_second as f64)
}

/// Reads a program's own figures.
pub fn read(program: Program, output: &str) -> Result<Taken, Failure> {
    let said: Value = serde_json::from_str(output)?;
    let number = |path: &str| {
        said.pointer(path)
            .and_then(Value::as_f64)
            .ok_or_else(|| format!("no {path} in {output}"))
    };
    if program == Program::Bare {
        return Ok(Taken {
            messages: number("/messages")?,
            per_second: number("/messages")? / number("/seconds")?,
            sqs: number("/receive")? + number("/send")? + number("/delete")?,
            ..Taken::default()
        });
    }
    let requests = |name: &str| number(&format!("/routes/default/requests/{name}"));
    Ok(Taken {
        messages: number("/routes/default/sent")?,
        // A drain of less than a second has no average: all it sent was sent in one.
        per_second: number("/routes/default/rate/average")
            .or_else(|_| number("/routes/default/rate/busiest_second"))?,
        sqs: requests("receive")?
            + requests("send")?
            + requests("delete")?
            + requests("other_sqs")?,
        writes: requests("dynamodb_write")?,
        reads: requests("dynamodb_read")?,
        ..Taken::default()
    })
}
