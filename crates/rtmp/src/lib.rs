//! RTMP as a server speaks it: handshake, chunk stream, AMF0, commands. Sans-IO: bytes, time and randomness come in
//! as arguments, bytes and events come out. Publishers send to it and players get from it.
//!
//! This crate refuses to know sockets, clocks and what is inside audio and video messages; it does not decide who may
//! publish. RTMPE, RTMPT and shared objects are not spoken.
//!
//! ```
//! use std::time::Duration;
//! use bytes::BytesMut;
//! use headwater_rtmp::{Limits, PublishError, ServerConnection, ServerEvent};
//!
//! let mut connection = ServerConnection::new(Limits::default(), [7; 1528], Duration::ZERO);
//! let mut input = BytesMut::from(&[3; 1537][..]); // C0 and C1, as read from a socket
//! connection.handle_input(&mut input, Duration::from_millis(5))?;
//! while let Some(event) = connection.poll_event() {
//!     match event {
//!         ServerEvent::Publish(request) if request.target.app == "live" => connection.accept_publish(request.stream_id),
//!         ServerEvent::Publish(request) => connection.reject_publish(request.stream_id, PublishError::BadName, "no such app"),
//!         other => drop(other), // ServerEvent::Media(message) and the rest
//!     }
//! }
//! assert_eq!(connection.take_output().len(), 1 + 1536 + 1536); // S0, S1 and S2, to be written to the socket
//! # Ok::<(), headwater_rtmp::Error>(())
//! ```
#![forbid(unsafe_code)]
// A peer's bytes never panic us; tests may, and Cargo.toml cannot tell them apart.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]
#![cfg_attr(not(test), warn(clippy::string_slice, clippy::panic, clippy::unreachable))]

mod aggregate;
pub mod amf0;
mod amf3;
pub mod chunk;
mod command;
mod error;
mod event;
#[doc(hidden)]
pub mod fuzzing;
pub mod handshake;
pub mod limits;
pub mod message;
pub mod playback;
mod server;
pub mod status;
mod text;
mod url;
mod writer;

pub use aggregate::Aggregate;
pub use chunk::{ChunkReader, Unfinished};
pub use command::{Capabilities, Command, Connect, Encoder};
pub use error::{Counters, Error, ErrorKind, Phase};
pub use event::{MediaMessage, PlayRequest, PublishRequest, Refusal, ServerEvent, UnpublishCause};
pub use limits::Limits;
pub use message::{Message, MessageKind};
pub use server::ServerConnection;
pub use status::{Level, PlayError, PublishError, Status};
pub use url::{NameError, Query, StreamTarget};
pub use writer::ChunkWriter;
