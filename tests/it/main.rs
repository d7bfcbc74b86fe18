#[cfg(feature = "local")]
mod contract;
mod crash;
mod house;
#[cfg(feature = "local")]
mod local;
mod plan;
mod sim;
mod window;
mod world;
