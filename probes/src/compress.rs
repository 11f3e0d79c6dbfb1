//! Bodies that came compressed.

use std::io::Read;

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use policies::plan::BODY_MAX_BYTES;
use policies::sample::Outcome;

/// What gate can undo.
pub(crate) const ACCEPTED: &str = "gzip, deflate";

/// Undoes an encoding. What would grow beyond the limit of a body ends there.
///
/// # Errors
/// `protocol` where it is not what it says to be, `too-large` where it grows too much.
pub(crate) fn inflated(encoding: &str, body: Vec<u8>) -> Result<Vec<u8>, Outcome> {
    if body.is_empty() {
        // An answer to HEAD, a 204 or a 304 has the header and no body (RFC 9110 §8.4).
        return Ok(body);
    }
    let encoding = encoding.trim().to_ascii_lowercase();
    match encoding.as_str() {
        "" | "identity" => Ok(body),
        "gzip" | "x-gzip" => read(MultiGzDecoder::new(body.as_slice())),
        "deflate" => read(ZlibDecoder::new(body.as_slice())),
        // It was not asked for.
        _ => Err(Outcome::Protocol),
    }
}

fn read(decoder: impl Read) -> Result<Vec<u8>, Outcome> {
    let mut inflated = Vec::new();
    let most = BODY_MAX_BYTES as u64;
    let read = decoder.take(most + 1).read_to_end(&mut inflated);
    match read {
        Ok(_) if inflated.len() > BODY_MAX_BYTES => Err(Outcome::TooLarge),
        Ok(_) => Ok(inflated),
        Err(_garbage) => Err(Outcome::Protocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use std::io::Write;

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn bodies_are_inflated_up_to_their_limit() {
        assert_eq!(inflated("gzip", gzip(b"hello")).unwrap(), b"hello");
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(b"hello").unwrap();
        assert_eq!(inflated("Deflate", zlib.finish().unwrap()).unwrap(), b"hello");
        assert_eq!(inflated("identity", b"hello".to_vec()).unwrap(), b"hello");
        let bomb = gzip(&vec![0; 64 * BODY_MAX_BYTES]);
        assert!(bomb.len() < BODY_MAX_BYTES / 10);
        assert_eq!(inflated("gzip", bomb), Err(Outcome::TooLarge));
        assert_eq!(inflated("gzip", b"hello".to_vec()), Err(Outcome::Protocol));
        assert_eq!(inflated("br", b"hello".to_vec()), Err(Outcome::Protocol));
        assert_eq!(inflated("gzip", Vec::new()).unwrap(), b"", "as an answer to HEAD has it");
    }
}
