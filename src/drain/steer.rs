//! What people change of a run under way: paused, going on, at another rate. The run's item is the truth and is written first; what its
//! processes may be told without the coordinator is written into their heartbeat items at once, so that it takes effect though nobody coordinates.

use crate::ledger::{AT_ONCE, Beat, Grant, Ledger, LedgerError, all_of};
use crate::pace::{Share, as_limit};
use crate::port::Ports;

/// A registered process of the run, with its heartbeat item where it has one.
pub type Told = (String, Option<Beat>);

/// Pauses a run, or lets it go on. Answers with its processes.
///
/// # Errors
/// When the table cannot be read or written: some may have been told by then. Calling again goes on.
pub async fn pause<P: Ports>(
    ledger: &Ledger<P>,
    run: &str,
    paused: bool,
) -> Result<Vec<Told>, LedgerError> {
    ledger.steer(run, Some(paused), None).await?;
    let processes = processes(ledger, run).await?;
    let told = processes
        .iter()
        .map(|(process, _)| ledger.tell_paused(process, paused));
    all_of(AT_ONCE, told).await?;
    Ok(processes)
}

/// Gives a run another rate (thousandths of a message a second; negative: no limit). Answers with its processes.
///
/// What is safe without the coordinator is told at once: a lower share to each where the rate is lower than before or than what they have
/// together, and a higher one to the only process there is. A grant that has changed since it was read is the coordinator's, as is every other raise.
///
/// # Errors
/// When the table cannot be read or written: some may have been told by then. Calling again goes on.
pub async fn rate<P: Ports>(
    ledger: &Ledger<P>,
    run: &str,
    rate: Share,
) -> Result<Vec<Told>, LedgerError> {
    let before = ledger.run(run).await?;
    ledger.steer(run, None, Some(rate)).await?;
    let processes = processes(ledger, run).await?;
    let each = match rate {
        unlimited if unlimited < 0 => unlimited,
        limited => limited / (processes.len() as i64).max(1),
    };
    let grants: Vec<(&String, Grant)> = processes
        .iter()
        .filter_map(|(process, beat)| Some((process, beat.as_ref()?.grant)))
        .collect();
    let granted: Share = grants.iter().map(|(_, grant)| as_limit(grant.share)).sum();
    // A coordinator that has not read the new rate yet may be raising somebody to the old one.
    let lower = before.is_some_and(|before| as_limit(rate) < as_limit(before.rate));
    let lower = lower || granted > as_limit(rate);
    let told = grants
        .iter()
        .filter(|(_, grant)| {
            let above = as_limit(each) < as_limit(grant.share);
            (lower && above) || processes.len() == 1
        })
        .map(|(process, grant)| ledger.tell_share(process, grant, each));
    all_of(AT_ONCE, told).await?;
    Ok(processes)
}

/// The run's registered processes that may still send.
async fn processes<P: Ports>(ledger: &Ledger<P>, run: &str) -> Result<Vec<Told>, LedgerError> {
    let mut all = ledger.processes().await?;
    all.retain(|p| p.run == run);
    let names: Vec<String> = all.into_iter().map(|p| p.process).collect();
    let beats = ledger.beats(&names).await?;
    let all = names.into_iter().zip(beats);
    // Who is fenced sends no more.
    let fenced = |beat: &Option<Beat>| beat.as_ref().is_some_and(|beat| beat.fenced_by.is_some());
    Ok(all.filter(|(_, beat)| !fenced(beat)).collect())
}
