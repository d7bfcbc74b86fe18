//! Access to AWS as the environment says. What it says wrong is refused here, in a line that names the variable: the SDK would only try for
//! a while, and tell of a network that is down.

use super::Failure;
use crate::aws::{Aws, Timeouts, profile};
use crate::cli::aws_environment;
use crate::plan::Refusal;

/// Access to AWS by the environment's own variables.
///
/// # Errors
/// A line for an endpoint that is no URL, a region that is none, and a profile that is not there.
pub async fn access(timeouts: Timeouts) -> Result<Aws, Failure> {
    let environment = aws_environment();
    environment.check_endpoints()?;
    if let Some(name) = environment.needed_profile()
        && let Some(names) = profile::names().await
        && !names.iter().any(|other| other == name)
    {
        let change = match names.is_empty() {
            true => "they have none, unset it to use a role".to_owned(),
            false => format!(
                "name one of {}, or unset it to use a role",
                names.join(", ")
            ),
        };
        let what = format!("AWS_PROFILE={name} is not a profile of the AWS configuration files");
        return Err(Refusal::new(what, change).into());
    }
    let aws = Aws::from_env(timeouts).await;
    if let Some(region) = aws.region() {
        environment.check_region(region)?;
    }
    Ok(aws)
}
