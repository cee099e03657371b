//! Credentials by the form their issuers gave them, checked as far as that form allows, and by the name of their key.

use casemate_core::Severity;
use flate2::Crc;

use crate::formats::pickle::base64;

/// The form of one kind of token.
struct Form {
    prefix: &'static str,
    name: &'static str,
    severity: Severity,
    /// Lengths of what follows the prefix.
    lengths: std::ops::RangeInclusive<usize>,
    /// Characters of what follows beside letters and digits.
    others: &'static [u8],
    check: fn(&str) -> bool,
}

const fn form(prefix: &'static str, name: &'static str, lengths: std::ops::RangeInclusive<usize>) -> Form {
    Form { prefix, name, severity: Severity::High, lengths, others: b"", check: is_random }
}

const GITHUB: &str = "a GitHub token";
const SLACK: &str = "a Slack token";
const AWS: &str = "the id of an AWS access key";

static FORMS: &[Form] = &[
    // https://github.blog/2021-04-05-behind-githubs-new-authentication-token-formats/: 30 characters and their checksum.
    Form { check: has_github_sum, ..form("ghp_", GITHUB, 36..=36) },
    Form { check: has_github_sum, ..form("gho_", GITHUB, 36..=36) },
    Form { check: has_github_sum, ..form("ghu_", GITHUB, 36..=36) },
    Form { check: has_github_sum, ..form("ghs_", GITHUB, 36..=36) },
    Form { check: has_github_sum, ..form("ghr_", GITHUB, 36..=36) },
    Form {
        others: b"_",
        check: |body| body.find('_') == Some(22) && is_random(body),
        ..form("github_pat_", GITHUB, 82..=82)
    },
    // https://huggingface.co/docs/hub/security-tokens.
    form("hf_", "a Hugging Face token", 34..=34),
    form("api_org_", "a Hugging Face token", 34..=34),
    // IAM User Guide, "IAM identifiers": base32, and the account in it. The id alone opens nothing.
    Form { severity: Severity::Medium, check: is_aws_key, ..form("AKIA", AWS, 16..=16) },
    Form { severity: Severity::Medium, check: is_aws_key, ..form("ASIA", AWS, 16..=16) },
    // https://docs.slack.dev/authentication/tokens.
    Form { others: b"-", check: is_slack, ..form("xoxb-", SLACK, 40..=120) },
    Form { others: b"-", check: is_slack, ..form("xoxp-", SLACK, 40..=120) },
    Form { others: b"-", check: is_slack, ..form("xoxa-", SLACK, 40..=120) },
    Form { others: b"-", check: is_slack, ..form("xoxs-", SLACK, 40..=120) },
    // Keys of browser programs are public by design.
    Form { severity: Severity::Medium, others: b"_-", ..form("AIza", "a Google API key", 35..=35) },
    // "OpenAI" in base64 stands in the middle of every key.
    Form {
        others: b"_-",
        check: |body| body.contains("T3BlbkFJ") && is_random(body),
        ..form("sk-", "an OpenAI key", 40..=220)
    },
    Form {
        others: b"_-",
        check: |body| body.starts_with("ant-") && is_random(body),
        ..form("sk-", "an Anthropic key", 90..=130)
    },
    // RFC 7519; many are long expired.
    Form { severity: Severity::Medium, others: b"_-.", check: is_jwt, ..form("eyJ", "a JSON web token", 40..=4000) },
];

/// Names of keys that hold secrets, their marks between words taken out.
const NAMES: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secretkey",
    "secretaccesskey",
    "clientsecret",
    "apikey",
    "apisecret",
    "accesskey",
    "privatekey",
    "accesstoken",
    "authtoken",
    "apitoken",
    "bearertoken",
    "refreshtoken",
    "hftoken",
    "githubtoken",
];

/// Credentials in a text under a key: how bad, and what.
pub(super) fn find(key: &str, text: &str) -> Vec<(Severity, String)> {
    if text.len() < 16 {
        return Vec::new();
    }
    let mut found = Vec::new();
    let begins = may_hold(text);
    for form in FORMS.iter().filter(|_| begins) {
        for (at, _) in text.match_indices(form.prefix).take(1000) {
            let before = text.get(..at).and_then(|before| before.chars().next_back());
            let body = body(text.get(at + form.prefix.len()..).unwrap_or_default(), form.others);
            let stands_alone = !before.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
            if stands_alone && form.lengths.contains(&body.len()) && (form.check)(body) {
                found.push((form.severity, shown(form.name, form.prefix, form.prefix.len() + body.len())));
            }
        }
    }
    if let Some(len) = begins.then(|| private_key(text)).flatten() {
        found.push((Severity::High, shown("a private key", "-----", len)));
    }
    if found.is_empty() && is_named(key, text) {
        found.push((Severity::Medium, shown("what its name calls a secret", text, text.chars().count())));
    }
    found
}

/// Whether any form may begin in a text: one pass that spares most texts the others.
fn may_hold(text: &str) -> bool {
    const BEGINNINGS: [&[u8; 3]; 10] = [b"git", b"hf_", b"api", b"AKI", b"ASI", b"xox", b"AIz", b"sk-", b"eyJ", b"---"];
    text.as_bytes().windows(3).any(|three| three.starts_with(b"gh") || BEGINNINGS.iter().any(|begin| three == *begin))
}

fn shown(name: &str, text: &str, len: usize) -> String {
    let start: String = text.chars().take(4).collect();
    format!("{name}, {start}… ({len} characters)")
}

/// The characters at the start of a text that a token may have.
fn body<'a>(text: &'a str, others: &[u8]) -> &'a str {
    let end = text.bytes().position(|byte| !(byte.is_ascii_alphanumeric() || others.contains(&byte)));
    text.get(..end.unwrap_or(text.len())).unwrap_or_default()
}

/// Whether characters look drawn by lot, not like an example or a word.
fn is_random(body: &str) -> bool {
    let lower = body.to_ascii_lowercase();
    let is_example = ["example", "xxxx", "your", "0000", "12345", "abcde", "placeholder", "dummy", "redacted"];
    let classes = [u8::is_ascii_digit as fn(&u8) -> bool, u8::is_ascii_lowercase, u8::is_ascii_uppercase];
    let classes = classes.iter().filter(|class| body.bytes().any(|byte| class(&byte))).count();
    !is_example.iter().any(|word| lower.contains(word)) && classes >= 2 && bits_per_character(body) >= 3.3
}

/// Shannon entropy of the characters of a text, in bits.
fn bits_per_character(text: &str) -> f64 {
    let mut counts = [0u32; 256];
    text.bytes().for_each(|byte| counts.iter_mut().skip(usize::from(byte)).take(1).for_each(|count| *count += 1));
    let total = f64::from(counts.iter().sum::<u32>().max(1));
    counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / total).map(|p| -p * p.log2()).sum()
}

/// The last six characters are the CRC-32 of the thirty before, in base 62.
fn has_github_sum(body: &str) -> bool {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let Some((random, sum)) = body.split_at_checked(30) else { return false };
    let mut crc = Crc::new();
    crc.update(random.as_bytes());
    let value = |byte: u8| DIGITS.iter().position(|digit| *digit == byte).and_then(|value| u64::try_from(value).ok());
    let written = sum.bytes().try_fold(0u64, |sum, byte| sum.checked_mul(62)?.checked_add(value(byte)?));
    written == Some(u64::from(crc.sum()))
}

/// Base32 whose first bytes, shifted, are an account number of twelve digits.
fn is_aws_key(body: &str) -> bool {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(u64::from(byte - b'A')),
        b'2'..=b'7' => Some(u64::from(byte - b'2') + 26),
        _ => None,
    };
    // Ten digits of five bits hold the 48 bits in which the account stands.
    let bits = body.bytes().take(10).try_fold(0u64, |bits, byte| Some(bits << 5 | digit(byte)?));
    let account = bits.map(|bits| (bits >> 2 & 0x7fff_ffff_ff80) >> 7);
    account.is_some_and(|account| account < 1_000_000_000_000) && body.bytes().all(|byte| digit(byte).is_some()) && {
        !body.contains("EXAMPLE") && bits_per_character(body) >= 2.8
    }
}

/// Numbers of team and user, then the secret.
fn is_slack(body: &str) -> bool {
    let mut parts = body.split('-');
    let is_number = |part: &str| part.len() >= 9 && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.next().is_some_and(is_number) && parts.next_back().is_some_and(|last| last.len() >= 20 && is_random(last))
}

/// Three parts, the first an object that names its algorithm. `eyJ` is `{"` in base64.
fn is_jwt(body: &str) -> bool {
    let mut parts = body.split('.');
    let (Some(header), Some(claims), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let object = base64(format!("eyJ{header}").as_bytes());
    let header = serde_json::from_slice::<serde_json::Value>(&object).ok();
    header.is_some_and(|header| header.get("alg").is_some_and(serde_json::Value::is_string))
        && claims.starts_with("eyJ")
        && signature.len() >= 32
}

/// The length of a private key in PEM (RFC 7468) that is there and not encrypted.
fn private_key(text: &str) -> Option<usize> {
    for (at, begin) in text.match_indices("-----BEGIN ").take(100) {
        let rest = text.get(at + begin.len()..)?;
        let Some((label, rest)) = rest.split_once("-----").filter(|(label, _)| label.len() < 40) else { continue };
        let body = rest.split("-----").next().unwrap_or_default();
        // In a JSON or Python text line ends may be spelled out.
        let body = body.replace("\\n", "");
        let digits = body.bytes().filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')).count();
        let is_private = label.ends_with("PRIVATE KEY") || label.ends_with("PRIVATE KEY BLOCK");
        if is_private && !label.contains("ENCRYPTED") && !body.contains("ENCRYPTED") && digits >= 64 && is_random(&body)
        {
            return Some(digits);
        }
    }
    None
}

/// Whether a key's last word says that a secret follows, and the value looks like one.
fn is_named(key: &str, value: &str) -> bool {
    if key.is_empty() || !(20..=256).contains(&value.len()) {
        return false;
    }
    let last = key.rsplit('.').next().unwrap_or(key);
    let word: String = last.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    if !NAMES.iter().any(|name| word.ends_with(name)) {
        return false;
    }
    let plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=_-!@#$%^&*".contains(&byte));
    let is_path = value.starts_with('/') || value.matches('/').count() > 2 && !value.ends_with('=');
    // Words of code and configuration are joined by one mark; random texts have none, or several kinds.
    let is_words = value.split(['_', '-', '/']).all(|part| part.bytes().all(|byte| byte.is_ascii_alphabetic()));
    plain && !is_path && !is_words && is_random(value) && bits_per_character(value) >= 3.5
}
