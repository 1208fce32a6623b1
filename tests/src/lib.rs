//! Shared equipment of the integration tests.
