pub mod cli;
pub mod config;
pub mod exit;
pub mod plan;
pub mod window;
