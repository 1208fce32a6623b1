//! Why a record, parameter set, header or access unit could not be read or written.

/// What went wrong, naming the syntax field that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The data ended inside a field.
    #[error("{field}: data ends at bit {bit_offset}")]
    Truncated {
        /// The syntax element, by its name in the specification.
        field: &'static str,
        /// Bits read before the end was met.
        bit_offset: u64,
    },
    /// A field has a value that its specification forbids, or that lies beyond this crate's limits.
    #[error("{field}: value {value} is not allowed")]
    Invalid {
        /// The syntax element, by its name in the specification.
        field: &'static str,
        /// The value found.
        value: u64,
    },
    /// A part without which the rest is useless is absent.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// More items or bytes than this crate is willing to hold.
    #[error("{what}: {count} is over the limit of {max}")]
    Limit {
        /// What was counted.
        what: &'static str,
        /// How many there were (at least).
        count: usize,
        /// The named constant's value.
        max: usize,
    },
    /// Valid, but of a kind that is not implemented or that the target format cannot express.
    #[error("{what} {value} is not supported")]
    Unsupported {
        /// The feature.
        what: &'static str,
        /// Its code number.
        value: u64,
    },
}
