//! The origin.

pub mod admin;
pub mod cli;
pub mod config;
pub mod error;
pub mod http;
pub mod log;
pub mod names;
pub mod published;
pub mod registry;

pub use error::Error;
