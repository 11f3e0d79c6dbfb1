//! How intervals are written: HDR V2 in base64, which HdrHistogram reads in every language.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram as Dense;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::{FINE_BITS, Interval, LATENCY_MAX_MICROS, bucket};

/// Significant digits of the wire form; coarser buckets begin where fine ones do.
const DIGITS: u8 = 3;
/// Bytes of one interval on the wire: every bucket that there is, at five bytes each, is less.
const WIRE_MAX_BYTES: usize = 256 * 1024;
/// What an uncompressed V2 histogram begins with, and how long that head is.
const V2_COOKIE: u32 = 0x1c84_9313;
const V2_HEADER_BYTES: usize = 40;

/// Text that is no interval.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// It is not base64.
    #[error("not base64")]
    Base64(#[source] base64::DecodeError),
    /// It is longer than any interval.
    #[error("{0} bytes, and at most {WIRE_MAX_BYTES}")]
    TooLong(usize),
    /// It is no HDR V2 histogram of microseconds up to an hour.
    #[error("not an HDR V2 histogram: {0}")]
    Histogram(String),
}

impl Interval {
    /// As HDR V2 (uncompressed), in base64; values in microseconds.
    pub fn to_wire(&self) -> String {
        let highest = self.buckets.last().map_or(2, |&(edge, _)| u64::from(edge).max(2));
        let mut bytes = Vec::new();
        // The library refuses only bounds that contradict each other, and counts beyond its own type.
        if let Ok(mut dense) = Dense::<u32>::new_with_bounds(1, highest, DIGITS) {
            for &(edge, count) in &self.buckets {
                dense.saturating_record_n(edge.into(), count);
            }
            let written = V2Serializer::new().serialize(&dense, &mut bytes);
            debug_assert!(written.is_ok(), "a histogram in memory can be written: {written:?}");
        }
        STANDARD.encode(bytes)
    }

    /// Reads what [`Interval::to_wire`] wrote, or another program with the same bounds.
    ///
    /// # Errors
    /// It is no such thing.
    pub fn from_wire(text: &str) -> Result<Self, WireError> {
        if text.len() > WIRE_MAX_BYTES {
            return Err(WireError::TooLong(text.len()));
        }
        let bytes = STANDARD.decode(text).map_err(WireError::Base64)?;
        let refused = |why: &dyn fmt::Display| WireError::Histogram(why.to_string());
        // Kind, length, highest trackable value and digits stand in the header; nothing larger is allocated for.
        let word = |from: usize| bytes.get(from..from + 4).and_then(|field| field.try_into().ok());
        let (kind, length) = (word(0).map(u32::from_be_bytes), word(4).map(u32::from_be_bytes));
        let follows =
            bytes.len().checked_sub(V2_HEADER_BYTES).and_then(|rest| u32::try_from(rest).ok());
        if kind != Some(V2_COOKIE) || length.is_none() || length != follows {
            return Err(refused(&"no V2 histogram, or not as long as it says"));
        }
        let header =
            |from: usize| bytes.get(from..from + 8).and_then(|field| field.try_into().ok());
        let highest = header(24).map(u64::from_be_bytes).ok_or_else(|| refused(&"cut off"))?;
        let digits = word(12).map(u32::from_be_bytes);
        if highest > 2 * LATENCY_MAX_MICROS || digits.is_none_or(|digits| digits > DIGITS.into()) {
            return Err(refused(&"values beyond an hour, or more than 3 digits"));
        }
        let dense: Dense<u32> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| refused(&format!("{error:?}")))?;
        let mut interval = Self::default();
        for value in dense.iter_recorded() {
            let lowest =
                dense.lowest_equivalent(value.value_iterated_to()).clamp(1, LATENCY_MAX_MICROS);
            let edge = bucket(u32::try_from(lowest).unwrap_or(u32::MAX), FINE_BITS);
            interval.add(edge, value.count_at_value());
        }
        Ok(interval)
    }
}

impl Serialize for Interval {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_empty() {
            serializer.serialize_str("")
        } else {
            serializer.serialize_str(&self.to_wire())
        }
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EitherForm)
    }
}

/// The wire form, or the map of buckets that versions before 0.2 wrote.
struct EitherForm;

impl<'de> Visitor<'de> for EitherForm {
    type Value = Interval;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an HDR V2 histogram in base64")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Interval, E> {
        if text.is_empty() {
            return Ok(Interval::default());
        }
        Interval::from_wire(text).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Interval, A::Error> {
        let mut interval = Interval::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "buckets" => {
                    let buckets: std::collections::BTreeMap<u32, u32> = map.next_value()?;
                    // Whatever the file says: only buckets that there are, and none that is empty.
                    for (micros, count) in buckets {
                        interval.record_many(Duration::from_micros(micros.into()), count);
                    }
                }
                // Samples above an hour, in the last bucket already.
                "overflow" => {
                    map.next_value::<u32>()?;
                }
                unknown => return Err(de::Error::unknown_field(unknown, &["buckets", "overflow"])),
            }
        }
        Ok(interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_written_is_read_again(latencies in prop::collection::vec((1u64..4_000_000_000, 1u32..1000), 0..100)) {
            let mut interval = Interval::default();
            for &(micros, times) in &latencies {
                interval.record_many(Duration::from_micros(micros), times);
            }
            let text = serde_json::to_string(&interval).unwrap();
            prop_assert_eq!(serde_json::from_str::<Interval>(&text).unwrap(), interval);
        }

        #[test]
        fn garbage_is_refused_or_read_but_never_worse(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _either = Interval::from_wire(&STANDARD.encode(&bytes));
            let mut wire = STANDARD.decode(sample().to_wire()).unwrap();
            for (place, byte) in bytes.iter().enumerate() {
                let place = (usize::from(*byte) * 7 + place) % wire.len();
                wire[place] ^= byte;
            }
            let _either = Interval::from_wire(&STANDARD.encode(&wire));
        }
    }

    fn sample() -> Interval {
        let mut interval = Interval::default();
        for millis in [1, 2, 2, 250, 1999] {
            interval.record(Duration::from_millis(millis));
        }
        interval
    }

    #[test]
    fn the_map_of_earlier_versions_is_still_read() {
        let old = r#"{"buckets":{"1000":1,"2000":2,"249856":1},"overflow":0}"#;
        let read: Interval = serde_json::from_str(old).unwrap();
        assert_eq!(read.count(), 4);
        assert_eq!(read.above(Duration::from_micros(249_855)), 1);
        serde_json::from_str::<Interval>(r#"{"bucket":{}}"#).unwrap_err();
        // Edges that are none, beyond an hour or of nothing: what is read is the same when it was written again.
        let odd = r#"{"buckets":{"0":1,"99999":2,"4294967295":1,"500":0}}"#;
        let read: Interval = serde_json::from_str(odd).unwrap();
        assert_eq!((read.count(), Interval::from_wire(&read.to_wire()).unwrap()), (4, read));
    }

    #[test]
    fn the_wire_form_is_the_one_of_hdr_histogram() {
        let bytes = STANDARD.decode(sample().to_wire()).unwrap();
        // The V2 cookie with its word size, as HdrHistogram's own encoders write it.
        assert_eq!(bytes[..4], [0x1c, 0x84, 0x93, 0x13]);
        assert!(sample().to_wire().len() < 120, "{}", sample().to_wire().len());
        // The length it states is what would be allocated; of another kind, the header says nothing.
        for (at, byte) in [(4, 0xff), (3, 0x14)] {
            let mut hostile = bytes.clone();
            hostile[at] = byte;
            let refused = Interval::from_wire(&STANDARD.encode(&hostile)).unwrap_err();
            assert!(refused.to_string().contains("V2"), "{refused}");
        }
    }
}
