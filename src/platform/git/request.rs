//! The body of a request for git: decoded, and within its bound.

use std::io::{self, Write};
use std::pin::Pin;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use flate2::write::MultiGzDecoder;
use tokio::io::{AsyncWriteExt, DuplexStream};

use crate::platform::refusal::Refusal;

/// Compressed input that is decoded at once, in bytes: gzip makes at most a thousand times as much
/// of it.
const PIECE: usize = 1024;

/// The coding of a body (`Content-Encoding`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Identity,
    Gzip,
}

impl Coding {
    /// `None` for one that is not known, or several.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut coding = Coding::Identity;
        for value in headers.get_all(header::CONTENT_ENCODING) {
            for name in value.to_str().ok()?.split(',') {
                match name.trim().to_ascii_lowercase().as_str() {
                    "" | "identity" => {}
                    "gzip" | "x-gzip" if coding == Coding::Identity => coding = Coding::Gzip,
                    _ => return None,
                }
            }
        }
        Some(coding)
    }
}

/// The answer to a body in a coding that is not known (RFC 9110 section 15.5.16).
pub fn unknown_coding() -> Response {
    let refusal = Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "UNSUPPORTED_MEDIA_TYPE",
        "this Content-Encoding is not supported; send gzip or none",
    );
    let mut response = refusal.into_text();
    let accepted = HeaderValue::from_static("gzip");
    response
        .headers_mut()
        .insert(header::ACCEPT_ENCODING, accepted);
    response
}

/// Writes the decoded body to `out`, at most `limit` bytes of it. `Ok` where `out` is closed too.
pub async fn receive(
    mut body: Body,
    coding: Coding,
    limit: u64,
    out: DuplexStream,
) -> Result<(), Refusal> {
    let mut out = Bounded { out, left: limit };
    let mut decoder = match coding {
        Coding::Identity => None,
        Coding::Gzip => Some(MultiGzDecoder::new(Vec::new())),
    };
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        let Some(frame) = frame else { break };
        let Ok(data) = frame.map_err(broken_off)?.into_data() else {
            continue;
        };
        let Some(decoder) = &mut decoder else {
            if out.write(&data).await?.is_closed() {
                return Ok(());
            }
            continue;
        };
        for piece in data.chunks(PIECE) {
            decoder.write_all(piece).map_err(not_gzip)?;
            let decoded = std::mem::take(decoder.get_mut());
            if out.write(&decoded).await?.is_closed() {
                return Ok(());
            }
        }
    }
    if let Some(mut decoder) = decoder {
        decoder.try_finish().map_err(not_gzip)?;
        out.write(decoder.get_mut()).await?;
    }
    Ok(())
}

struct Bounded {
    out: DuplexStream,
    left: u64,
}

#[derive(PartialEq)]
enum Written {
    All,
    /// Nobody reads any more.
    Closed,
}

impl Written {
    fn is_closed(&self) -> bool {
        *self == Written::Closed
    }
}

impl Bounded {
    async fn write(&mut self, data: &[u8]) -> Result<Written, Refusal> {
        let left = self.left.checked_sub(data.len() as u64);
        self.left = left.ok_or_else(too_large)?;
        Ok(match self.out.write_all(data).await {
            Ok(()) => Written::All,
            Err(_) => Written::Closed,
        })
    }
}

fn too_large() -> Refusal {
    Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "PAYLOAD_TOO_LARGE",
        "this request is larger than the server accepts",
    )
}

fn broken_off(_: axum::Error) -> Refusal {
    Refusal::new(
        StatusCode::REQUEST_TIMEOUT,
        "REQUEST_TIMEOUT",
        "the request broke off, or was sent too slowly",
    )
}

fn not_gzip(_: io::Error) -> Refusal {
    Refusal::bad_request("the body is not valid gzip")
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tokio::io::AsyncReadExt;

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).expect("in memory");
        encoder.finish().expect("in memory")
    }

    async fn received(body: Vec<u8>, coding: Coding, limit: u64) -> Result<Vec<u8>, StatusCode> {
        let (out, mut read) = tokio::io::duplex(64);
        let mut all = Vec::new();
        let (outcome, _) = tokio::join!(
            receive(Body::from(body), coding, limit, out),
            read.read_to_end(&mut all)
        );
        outcome.map(|()| all).map_err(|refusal| refusal.status)
    }

    #[tokio::test]
    async fn a_body_arrives_decoded_whole_and_within_its_bound() {
        let data: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
        for (body, coding) in [
            (data.clone(), Coding::Identity),
            (gzip(&data), Coding::Gzip),
        ] {
            let exact = received(body.clone(), coding, 100_000).await;
            assert_eq!(exact.as_ref(), Ok(&data), "{coding:?}");
            let less = received(body, coding, 99_999).await;
            assert_eq!(less, Err(StatusCode::PAYLOAD_TOO_LARGE), "{coding:?}");
        }
        let bomb = gzip(&vec![0; 64 << 20]);
        let refused = received(bomb, Coding::Gzip, 1 << 20).await;
        assert_eq!(refused, Err(StatusCode::PAYLOAD_TOO_LARGE));
    }

    #[tokio::test]
    async fn what_is_not_whole_gzip_is_refused() {
        let whole = gzip(b"0000");
        let half = whole[..whole.len() - 4].to_vec();
        for body in [Vec::new(), b"0000".to_vec(), half] {
            let refused = received(body, Coding::Gzip, 1024).await;
            assert_eq!(refused, Err(StatusCode::BAD_REQUEST));
        }
    }

    #[test]
    fn only_gzip_is_known_as_a_coding() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                let value = HeaderValue::from_str(value).expect("valid");
                headers.append(header::CONTENT_ENCODING, value);
            }
            Coding::of(&headers)
        };
        assert_eq!(of(&[]), Some(Coding::Identity));
        assert_eq!(of(&["identity"]), Some(Coding::Identity));
        for gzip in ["gzip", "GZip", "x-gzip", "identity, gzip"] {
            assert_eq!(of(&[gzip]), Some(Coding::Gzip), "{gzip}");
        }
        for unknown in ["deflate", "br", "zstd", "compress", "gzip, gzip", "gzipped"] {
            assert_eq!(of(&[unknown]), None, "{unknown}");
        }
        assert_eq!(of(&["gzip", "gzip"]), None);
    }
}
