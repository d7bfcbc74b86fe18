//! The profiles in AWS's configuration files.

/// The names of the profiles that the files have; `None` where they cannot be read, which the credentials' own error tells better.
pub async fn names() -> Option<Vec<String>> {
    // The three are the real file system and environment, and the usual places of the files.
    let (files, environment, places) = Default::default();
    let set = aws_config::profile::load(&files, &environment, &places, None).await;
    Some(set.ok()?.profiles().map(str::to_owned).collect())
}
