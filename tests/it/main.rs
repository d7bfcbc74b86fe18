#[cfg(feature = "local")]
mod binary;
#[cfg(feature = "local")]
mod local;
mod plan;
mod window;
