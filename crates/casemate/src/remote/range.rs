//! What an answer to a range request must say before its bytes are believed.
//!
//! Source: RFC 9110, 8.8 (validators), 14 (ranges), 15.3.7 (206). An answer that says less than was asked for would leave
//! a hole, one that says more or other would put bytes where they are not.

use super::client::{Client, Response};
use super::error::Error;

/// What was asked for.
pub struct Expected<'a> {
    /// First byte.
    pub from: u64,
    /// Byte after the last.
    pub to: u64,
    /// Size of the whole.
    pub size_bytes: u64,
    /// What the first answer said of its version.
    pub validator: Option<&'a str>,
}

/// What tells one version of a file from the next: its `ETag`, else when it was last changed.
pub fn validator(response: &Response) -> Option<String> {
    response.header("etag").or_else(|| response.header("last-modified")).map(str::to_owned)
}

/// The bytes of `Content-Range` as first, one after the last, and size of the whole.
pub fn content_range(response: &Response) -> Option<(u64, u64, u64)> {
    let (span, size) = response.header("content-range")?.strip_prefix("bytes ")?.split_once('/')?;
    let (from, last) = span.split_once('-')?;
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let (from, to, size) = (number(from)?, number(last)?.checked_add(1)?, number(size)?);
    (from < to && to <= size).then_some((from, to, size))
}

/// The answer in words, for a message.
pub fn described(response: &Response) -> String {
    match response.header("content-range") {
        Some(range) => {
            format!("status {} with the range `{}`", response.status, range.chars().take(80).collect::<String>())
        }
        None => format!("status {} without a range", response.status),
    }
}

/// The bytes asked for, if that is what `response` holds.
///
/// # Errors
/// When it is another stretch, another version, another length or another encoding.
pub fn read(client: &Client, response: Response, expected: &Expected<'_>) -> Result<Vec<u8>, Error> {
    let url = response.url.shown();
    let length = expected.to - expected.from;
    let wrong = |what: String| Err(Error::Range { url: url.clone(), what });
    match response.status {
        206 => {}
        // If-Range: the whole comes when it is another version.
        200 if expected.validator.is_some() => {
            let what = match validator(&response).as_deref() == expected.validator {
                true => return wrong("the whole file instead of a part".into()),
                false => "the server has another version now".into(),
            };
            return Err(Error::Changed { url, what });
        }
        200 => return wrong("the whole file instead of a part".into()),
        412 | 416 => return Err(Error::Changed { url, what: format!("status {}", response.status) }),
        status => return Err(Error::status(&response.url, status)),
    }
    match content_range(&response) {
        Some((_, _, size)) if size != expected.size_bytes => {
            let what = format!("{} bytes before, {size} now", expected.size_bytes);
            return Err(Error::Changed { url, what });
        }
        Some((from, to, _)) if (from, to) == (expected.from, expected.to) => {}
        _ => return wrong(described(&response)),
    }
    if expected.validator.is_some() && validator(&response).as_deref() != expected.validator {
        return Err(Error::Changed { url, what: "its ETag or date is another one".into() });
    }
    if let Some(announced) = response.number("content-length").filter(|announced| *announced != length) {
        return wrong(format!("{announced} bytes announced for a range of {length}"));
    }
    let bytes = match response.body(client, length) {
        Err(Error::TooLong { .. }) => return wrong(format!("more bytes than the {length} of the range")),
        bytes => bytes?,
    };
    match bytes.len() as u64 == length {
        true => Ok(bytes),
        false => wrong(format!("{} bytes came of the {length} of the range", bytes.len())),
    }
}
