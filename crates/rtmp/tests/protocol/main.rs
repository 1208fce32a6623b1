//! The protocol through the crate's public interface: tables, byte-exact fixtures, recorded sessions, limits.

mod aggregate;
mod amf0;
mod chunk;
mod client;
mod handshake;
mod independent;
mod limits;
mod recorded;
mod seeds;
mod server;
mod url;
mod writer;
