//! Accept-Encoding: whether this client prefers gzip (RFC 9110 12.5.3).

/// Elements looked at; browsers send four. The rest of a longer header is not read.
const ELEMENTS_MAX: usize = 32;

/// A weight in thousandths.
type Weight = u16;

/// True when gzip is acceptable and not less wanted than the identity coding. Malformed elements are passed over.
pub(super) fn prefers_gzip(header: &str) -> bool {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    for element in header.split(',').take(ELEMENTS_MAX) {
        let (coding, parameters) = element.split_once(';').unwrap_or((element, ""));
        let Some(weight) = weight(parameters) else { continue };
        let coding = coding.trim();
        let slot = if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
            &mut gzip
        } else if coding.eq_ignore_ascii_case("identity") {
            &mut identity
        } else if coding == "*" {
            &mut any
        } else {
            continue;
        };
        // The first of a repeated coding counts.
        slot.get_or_insert(weight);
    }
    let gzip: Weight = gzip.or(any).unwrap_or(0);
    // Identity that isn't named is acceptable but not wished for.
    gzip > 0 && gzip >= identity.unwrap_or(0)
}

/// The value of `q` among parameters: 1,000 when absent, `None` when malformed.
fn weight(parameters: &str) -> Option<Weight> {
    let parameters = parameters.trim();
    if parameters.is_empty() {
        return Some(1_000);
    }
    let (name, value) = parameters.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let value = value.trim();
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths: Weight = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn preferences() {
        for (header, expected) in [
            ("", false),
            ("gzip", true),
            ("GZIP", true),
            ("x-gzip", true),
            ("gzip, deflate, br, zstd", true),
            ("br, gzip;q=0.5", true),
            ("br", false),
            ("identity", false),
            ("*", true),
            ("*;q=0", false),
            ("gzip;q=0", false),
            ("gzip;q=0, *", false),
            ("gzip;q=0.000", false),
            ("gzip;q=0.001", true),
            ("*;q=0, gzip", true),
            ("identity;q=1, gzip;q=0.5", false),
            ("identity;q=0.5, gzip;q=0.5", true),
            ("gzip;q=1.000", true),
            ("gzip ; q=1", true),
            ("gzip;Q=0.3", true),
            ("gzip;q=1.001", false),
            ("gzip;q=2", false),
            ("gzip;q=0.1234", false),
            ("gzip;q=", false),
            ("gzip;q", false),
            ("gzip;level=9", false),
            (",,gzip", true),
            ("gzipped", false),
            ("gzip;q=0, gzip;q=1", false),
        ] {
            assert_eq!(prefers_gzip(header), expected, "{header:?}");
        }
        assert!(!prefers_gzip(&format!("{}gzip", "br,".repeat(40))));
    }

    proptest! {
        #[test]
        fn any_header(header in "\\PC{0,80}", q in 0_u16..=1_000) {
            let _ = prefers_gzip(&header);
            let text = format!("gzip;q={}.{:03}", q / 1_000, q % 1_000);
            prop_assert_eq!(prefers_gzip(&text), q > 0);
        }
    }
}
