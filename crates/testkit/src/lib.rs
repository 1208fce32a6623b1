//! Test equipment: readers of what Headwater writes that share no code with its writers, and comparisons built on them.
//!
//! [`ts`] reads MPEG-TS segments back through the `mpeg2ts` crate and lists what is wrong with them, [`fmp4`] does so with
//! CMAF track files through `mp4-atom`; [`flv`] reads the file that an encoder sent; [`fidelity`] holds what was received
//! against it, unit by unit. [`seeds`] are those of the fuzz targets, for ordinary tests. The crate refuses to know the
//! muxers, and it never panics at what it reads: a finding is a sentence in a list.
//!
//! ```
//! use headwater_testkit::ts::TsReader;
//!
//! let mut reader = TsReader::new();
//! reader.segment(&[0x47; 188]);
//! let report = reader.finish();
//! assert!(report.access_units.is_empty());
//! assert!(!report.findings.is_empty());
//! ```
#![forbid(unsafe_code)]

pub mod adts;
pub mod annexb;
pub mod fidelity;
pub mod flv;
pub mod fmp4;
pub mod mp3;
pub mod seeds;
pub mod ts;
