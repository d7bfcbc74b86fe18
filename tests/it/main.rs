mod contract;
#[cfg(feature = "local")]
mod local;
mod plan;
mod window;
