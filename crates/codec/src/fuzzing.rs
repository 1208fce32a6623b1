//! Bodies of the fuzz targets; an ordinary test runs them over their seeds.

use crate::aac::AudioSpecificConfig;
use crate::h264::AvcConfig;

/// A record that parses is written, parsed again to an equal value, and written to the same bytes.
pub fn avcc(data: &[u8]) {
    let Ok(config) = AvcConfig::parse(data) else { return };
    let record = config.to_record();
    let again = AvcConfig::parse(&record);
    assert_eq!(again.as_ref(), Ok(&config));
    assert!(again.is_ok_and(|again| again.to_record() == record && again.first_sps() == config.first_sps()));
}

/// What can be written parses to an equal value.
pub fn asc(data: &[u8]) {
    let Ok(config) = AudioSpecificConfig::parse(data) else { return };
    assert!(config.channels() > 0 && config.output_sample_rate() > 0);
    if let Ok(bytes) = config.to_bytes() {
        assert_eq!(AudioSpecificConfig::parse(&bytes), Ok(config));
    }
}
