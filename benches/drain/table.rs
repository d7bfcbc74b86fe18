//! The figures as a plain table.

use crate::measure::{Program, Taken};

/// The middle one of the rounds' values (of an even number: the mean of the middle two).
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// Prints a line for each program: medians over the rounds, and the median of each round's ratio to the first program.
pub fn comparison(programs: &[Program], rounds: &[Vec<Taken>]) {
    println!(
        "{:<22} {:>8} {:>6} {:>10} {:>6} {:>9} {:>9} {:>9} {:>7} {:>10}",
        "",
        "CPU us",
        "ratio",
        "messages/s",
        "ratio",
        "SQS req.",
        "DDB wr.",
        "DDB rd.",
        "peak MB",
        "server us"
    );
    let cpu = |t: &Taken| t.cpu_s * 1e6 / t.messages;
    for (place, program) in programs.iter().enumerate() {
        let of = |figure: &dyn Fn(&Taken) -> f64| {
            median(rounds.iter().map(|round| figure(&round[place])).collect())
        };
        let ratio = |figure: &dyn Fn(&Taken) -> f64| {
            let ratios = rounds.iter().map(|r| figure(&r[place]) / figure(&r[0]));
            median(ratios.collect())
        };
        println!(
            "{:<22} {:>8.1} {:>6.2} {:>10.0} {:>6.2} {:>9.3} {:>9.4} {:>9.4} {:>7.1} {:>10.1}",
            program.name(),
            of(&cpu),
            ratio(&cpu),
            of(&|t| t.per_second),
            ratio(&|t| t.per_second),
            of(&|t| t.sqs / t.messages),
            of(&|t| t.writes / t.messages),
            of(&|t| t.reads / t.messages),
            of(&|t| t.resident_mb),
            of(&|t| t.server_cpu_s * 1e6 / t.messages),
        );
    }
}
