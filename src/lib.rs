pub mod exit;
pub mod window;
