//! Files on servers: which addresses are understood, what lies there, and scanning it by ranges.
//!
//! An address becomes a list of files with sizes, each file a [`RemoteSource`], and from there on a scan like any other. A
//! checkpoint of seventy gigabytes is judged from its headers. What a server sends is as hostile as what a file holds:
//! [`source`] and [`range`] believe nothing that does not fit, [`client`] goes nowhere it may not go. Nothing here runs,
//! and no certificate is read, unless an address is given.

mod authorization;
pub mod client;
mod error;
mod hub;
mod layout;
mod oci;
mod range;
mod registry_token;
mod s3;
mod sigv4;
mod source;
mod url;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use casemate_artifact::{Scanner, Verdict};
use casemate_core::{Digest, FileSource, Measurement};
use rayon::prelude::*;

use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::filters::{Filters, LeftOut};
use crate::progress;
use crate::report::DigestSet;
use crate::scanning::{ScanSettings, Scanned, ScannedFile, not_judged, scan_source};
use crate::walk::Skipped;
use authorization::Authorization;
use client::{Client, ClientSettings};
use error::Error;
use source::{Remote, RemoteSource};
use url::Url;

/// Files of one address that are scanned; the rest is reported as not looked at.
const FILES_MAX: usize = 100_000;

/// Files read at the same time: the work is waiting, and each may hold 10 MiB.
const PARALLEL: usize = 8;

/// Redirects and retries aside, how to read from servers.
#[derive(Clone, Copy)]
pub struct RemoteSettings<'a> {
    /// Limits, and whether to read files whole for their digests.
    pub scan: ScanSettings<'a>,
    /// Which of the files are looked at.
    pub filters: &'a Filters,
    /// Whether nothing else is scanned: an address that cannot be read is then how the run ends, not a line of a report.
    pub is_alone: bool,
    /// Whether blobs of a layout on disk are compared with their digests.
    pub check_layout: bool,
    /// Whether `http://` to other machines is allowed.
    pub allow_http: bool,
    /// Longest wait of one request.
    pub timeout: Duration,
}

/// What an address stands for.
#[derive(Debug)]
enum Place {
    File(Url),
    Hub(hub::HubAddress),
    S3(s3::S3Address),
    Oci(oci::OciAddress),
    Layout(PathBuf),
}

/// Files at an address.
#[derive(Debug, Default)]
struct Listing {
    items: Vec<Item>,
    skipped: Vec<Skipped>,
    remarks: Vec<String>,
}

/// One file at an address.
#[derive(Debug)]
struct Item {
    shown: String,
    remote: Remote,
}

/// What scanning addresses gave, besides what scanning paths gives.
#[derive(Debug, Default)]
pub struct RemoteScan {
    /// The files.
    pub scanned: Scanned,
    /// What a reader has to know.
    pub remarks: Vec<String>,
    /// What it took.
    pub measurements: Vec<Measurement>,
    /// Whether something is not what its digest says.
    pub is_broken: bool,
}

impl Listing {
    fn skip(&mut self, path: String, reason: String) {
        self.skipped.push(Skipped { path, reason, matters: true });
    }
}

/// Whether `text` is an address rather than a path.
pub fn is_address(text: &str) -> bool {
    text.contains("://") || text.starts_with("oci:")
}

/// Scans everything at `addresses`.
///
/// # Errors
/// When one is no address we understand, or the only one cannot be read.
pub fn scan(context: &Context, addresses: &[String], settings: RemoteSettings<'_>) -> Result<RemoteScan, Failure> {
    let places = addresses.iter().map(|address| place(address)).collect::<Result<Vec<_>, _>>()?;
    // What the environment allows for S3 is not allowed for anything else named beside it.
    let s3_allows = std::env::var("AWS_ALLOW_HTTP").is_ok_and(|value| value == "true" || value == "1");
    let allow_http = settings.allow_http || (s3_allows && places.iter().all(|place| matches!(place, Place::S3(_))));
    let client = Arc::new(Client::new(ClientSettings { allow_http, timeout: settings.timeout }));
    let mut result = RemoteScan::default();
    let mut items = Vec::new();
    for (address, place) in addresses.iter().zip(&places) {
        let listing = match place {
            Place::Layout(directory) => {
                if let Err(failure) = scan_layout(context, address, directory, settings, &mut result) {
                    result.is_broken |= failure.exit == Exit::Integrity;
                    result.not_listed(settings.is_alone, address, failure)?;
                }
                continue;
            }
            Place::File(url) => Ok(Listing { items: vec![file(url)], ..Listing::default() }),
            Place::Hub(address) => hub::list(&client, address),
            Place::S3(address) => s3::list(&client, address),
            Place::Oci(address) => oci::list(&client, address),
        };
        match listing {
            Ok(listing) if listing.items.is_empty() && listing.skipped.is_empty() => {
                let failure = Failure::not_evaluated(format!("`{address}`: there is no file under this name"));
                result.not_listed(settings.is_alone, address, failure)?;
            }
            Ok(mut listing) => {
                let names = distinct(listing.items.iter().map(|item| (item.shown.clone(), item.remote.sha256)));
                listing.items.iter_mut().zip(names).for_each(|(item, name)| item.shown = name);
                listing.items.retain(|item| result.is_wanted(&item.shown, settings.filters));
                items.extend(listing.items);
                result.scanned.skipped.extend(listing.skipped);
                result.remarks.extend(listing.remarks);
            }
            Err(error) => {
                let what = crate::render::safe(&error.to_string());
                let failure = match &error {
                    Error::Digest { .. } => Failure::integrity(what),
                    _ => Failure::not_evaluated(what),
                };
                result.is_broken |= matches!(error, Error::Digest { .. });
                result.not_listed(settings.is_alone, address, failure)?;
            }
        }
    }
    if !items.is_empty() {
        let only = result.scan_items(context, &client, &items, settings)?;
        if let (Some(error), true) = (only, settings.is_alone) {
            return Err(Failure::not_evaluated(crate::render::safe(&error.to_string())));
        }
    }
    Ok(result)
}

/// What `address` stands for.
///
/// # Errors
/// When it is no address we understand.
fn place(address: &str) -> Result<Place, Failure> {
    let malformed = |form: &str| Failure::usage(format!("`{}` is not of the form {form}", shown(address)));
    let (scheme, rest) = address.split_once(':').unwrap_or(("", address));
    match (scheme.to_ascii_lowercase().as_str(), rest.strip_prefix("//")) {
        ("https" | "http", Some(_)) => {
            let url = Url::parse(address).map_err(|error| Failure::usage(format!("`{}` {error}", shown(address))))?;
            Ok(hub::parse_page(&url).map_or(Place::File(url), Place::Hub))
        }
        ("hf", Some(rest)) => {
            hub::parse(rest).map(Place::Hub).ok_or_else(|| malformed("hf://ORG/REPO[@REVISION][/FILE]"))
        }
        ("s3", Some(rest)) => s3::parse(rest).map(Place::S3).ok_or_else(|| malformed("s3://BUCKET[/PREFIX]")),
        ("oci", Some(rest)) => {
            oci::parse(rest).map(Place::Oci).ok_or_else(|| malformed("oci://REGISTRY/REPOSITORY[:TAG|@sha256:DIGEST]"))
        }
        ("oci", None) if !rest.is_empty() => Ok(Place::Layout(PathBuf::from(rest))),
        (scheme, _) => Err(Failure::usage(format!(
            "`{}`: `{scheme}` is no scheme this build reads; it reads https://, http://, s3://, oci://, hf:// and oci:DIRECTORY",
            shown(address)
        ))),
    }
}

/// An address as it may stand in a message or report: without credentials and query.
pub fn shown(address: &str) -> String {
    let address = address.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

fn file(url: &Url) -> Item {
    let remote = Remote {
        url: url.clone(),
        authorization: Authorization::None,
        size_bytes: None,
        sha256: None,
        is_immutable: false,
    };
    Item { shown: url::unescape(&url.shown()), remote }
}

/// Names made distinct: the ones that several files have get their digest, or a number, added.
fn distinct(names: impl Iterator<Item = (String, Option<Digest>)> + Clone) -> Vec<String> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    names.clone().for_each(|(name, _)| *counts.entry(name).or_default() += 1);
    let several = |name: &String| counts.get(name).is_some_and(|count| *count > 1);
    names
        .enumerate()
        .map(|(i, (name, digest))| match digest {
            _ if !several(&name) => name,
            Some(digest) => format!("{name} (sha256:{digest})"),
            None => format!("{name} ({i})"),
        })
        .collect()
}

/// How one file of an address ended.
struct Outcome {
    file: ScannedFile,
    bytes_fetched: u64,
    is_broken: bool,
    failure: Option<Error>,
}

impl RemoteScan {
    /// Whether the file is to be looked at; one that is not is named in the report.
    fn is_wanted(&mut self, shown: &str, filters: &Filters) -> bool {
        let reason = filters.leaves_out(shown);
        let wanted = reason.is_none();
        self.scanned.left_out.extend(reason.map(|reason| LeftOut { path: shown.to_owned(), reason }));
        wanted
    }

    /// Takes note of an address that could not be listed; when it is the only one, that is how the run ends.
    fn not_listed(&mut self, is_alone: bool, address: &str, failure: Failure) -> Result<(), Failure> {
        if is_alone {
            return Err(failure);
        }
        self.scanned.files.push(not_judged(&shown(address), 0, failure.message));
        Ok(())
    }

    /// Scans `items`; gives the reason if there is only one and it could not be opened.
    fn scan_items(
        &mut self,
        context: &Context,
        client: &Arc<Client>,
        items: &[Item],
        settings: RemoteSettings<'_>,
    ) -> Result<Option<Error>, Failure> {
        let wire = Arc::clone(client);
        let bar = progress::files(context, "scanning", items.len() as u64, move || wire.bytes());
        let scanner = Scanner::new(settings.scan.limits.clone());
        let one = |item: &Item| {
            if context.is_interrupted() {
                return None;
            }
            bar.set_message(crate::render::safe(&item.shown));
            let outcome = scan_item(&scanner, client, item, settings.scan);
            bar.inc(1);
            Some(outcome)
        };
        let outcomes: Vec<Option<Outcome>> = match items {
            [item] => vec![one(item)],
            items => {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(PARALLEL.min(items.len())).build();
                let pool = pool.map_err(|error| Failure::not_evaluated(format!("no threads: {error}")))?;
                pool.install(|| items.par_iter().map(one).collect())
            }
        };
        bar.finish_and_clear();
        // Ctrl-C in the middle of a file leaves it half read.
        self.scanned.incomplete |= outcomes.iter().any(Option::is_none) || context.is_interrupted();
        let mut outcomes: Vec<Outcome> = outcomes.into_iter().flatten().collect();
        self.is_broken |= outcomes.iter().any(|outcome| outcome.is_broken);
        let judged: u64 = outcomes.iter().map(|outcome| outcome.file.report.size).sum();
        let fetched: u64 = outcomes.iter().map(|outcome| outcome.bytes_fetched).sum();
        let hashed = settings.scan.hash;
        let only = if let [outcome] = outcomes.as_mut_slice() { outcome.failure.take() } else { None };
        self.scanned.files.extend(outcomes.into_iter().map(|outcome| outcome.file));
        self.describe(judged, fetched, client, hashed);
        Ok(only)
    }

    /// Says how much was read of how much.
    #[expect(clippy::cast_precision_loss, reason = "shown to three digits")]
    fn describe(&mut self, judged: u64, fetched: u64, client: &Client, hashed: bool) {
        let share = if judged == 0 { 100.0 } else { fetched as f64 * 100.0 / judged as f64 };
        let size = crate::render::size;
        let digests = match hashed {
            true => "every file was read whole and hashed, and judged on the bytes that were hashed",
            false => "no digests were computed; with --hash every file is read whole",
        };
        self.remarks.push(format!(
            "{} fetched of {} ({share:.3} %) in {} requests; {digests}",
            size(fetched),
            size(judged),
            client.requests()
        ));
        self.measurements.push(Measurement::exact("bytes_fetched", fetched as f64, "bytes"));
        self.measurements.push(Measurement::exact("bytes_judged", judged as f64, "bytes"));
        self.measurements.push(Measurement::exact("requests", client.requests() as f64, "count"));
    }
}

fn scan_item(scanner: &Scanner, client: &Arc<Client>, item: &Item, settings: ScanSettings<'_>) -> Outcome {
    let shown = item.shown.as_str();
    let source = match RemoteSource::open(Arc::clone(client), item.remote.clone()) {
        Ok(source) => Arc::new(source),
        Err(error) => {
            let mut file = not_judged(shown, item.remote.size_bytes.unwrap_or(0), format!("cannot be read: {error}"));
            file.report.bytes_fetched = Some(0);
            return Outcome { file, bytes_fetched: 0, is_broken: false, failure: Some(error) };
        }
    };
    let digest = if settings.hash { source.hash().map(Some) } else { Ok(None) };
    let mut file = match digest {
        Ok(digest) => {
            let mut file =
                scan_source(scanner, shown, Arc::clone(&source) as _, ScanSettings { hash: false, ..settings });
            file.report.digest = digest.map(|sha256| DigestSet { sha256 });
            file
        }
        Err(error) => not_judged(shown, item.remote.size_bytes.unwrap_or(0), format!("cannot be read: {error}")),
    };
    // Whatever a parser made of it: what was read is not the file.
    if let Some(failure) = source.failure() {
        file.report.digest = None;
        if !file.report.findings.iter().any(|finding| finding.message.contains(failure)) {
            let reason = not_judged(shown, 0, format!("cannot be read: {failure}"));
            file.report.findings.extend(reason.report.findings);
        }
        file.report.verdict = file.report.verdict.max(Verdict::Unscannable);
    }
    file.report.size = casemate_core::Source::size_bytes(source.as_ref());
    file.report.bytes_fetched = Some(source.bytes_fetched());
    Outcome { file, bytes_fetched: source.bytes_fetched(), is_broken: source.is_other_than_named(), failure: None }
}

/// Scans the blobs of a layout on disk; a blob that is not what its name says is not judged.
fn scan_layout(
    context: &Context,
    shown: &str,
    directory: &std::path::Path,
    settings: RemoteSettings<'_>,
    result: &mut RemoteScan,
) -> Result<(), Failure> {
    let layout = layout::list(shown, directory).map_err(|(what, is_broken)| match is_broken {
        true => Failure::integrity(what),
        false => Failure::not_evaluated(what),
    })?;
    let scanner = Scanner::new(settings.scan.limits.clone());
    let scan = ScanSettings { hash: settings.check_layout, ..settings.scan };
    let one = |(shown, place, named): &(String, PathBuf, Digest)| {
        if context.is_interrupted() {
            return None;
        }
        let file = match FileSource::open(place) {
            Ok(source) => scan_source(&scanner, shown, Arc::new(source), scan),
            Err(error) => not_judged(shown, 0, format!("cannot be read: {error}")),
        };
        let is_other = file.report.digest.is_some_and(|digest| digest.sha256 != *named);
        let file = match is_other {
            true => not_judged(shown, file.report.size, "its content is not what its digest says".into()),
            false => file,
        };
        Some((file, is_other))
    };
    let blobs: Vec<_> =
        layout.blobs.into_iter().filter(|(shown, ..)| result.is_wanted(shown, settings.filters)).collect();
    let files: Vec<_> = blobs.par_iter().map(one).collect();
    result.scanned.incomplete |= files.iter().any(Option::is_none);
    for (file, is_other) in files.into_iter().flatten() {
        result.is_broken |= is_other;
        result.scanned.files.push(file);
    }
    result.scanned.skipped.extend(layout.skipped);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_several_files_are_told_apart() {
        let digest = |byte| Some(Digest([byte; 32]));
        let names = [("a", digest(1)), ("b", None), ("a", digest(2)), ("b", None), ("c", None)];
        let names = distinct(names.iter().map(|(name, digest)| ((*name).to_owned(), *digest)));
        assert_eq!(names[1..4], ["b (1)".to_owned(), format!("a (sha256:{})", "02".repeat(32)), "b (3)".into()]);
        assert_eq!(names[4], "c");
    }

    #[test]
    fn credentials_and_queries_are_not_shown() {
        assert_eq!(shown("https://me:pw@h/p?sig=x#f"), "https://h/p");
        assert_eq!(shown("s3://b/k"), "s3://b/k");
        assert_eq!(shown("oci:dir"), "oci:dir");
    }

    proptest! {
        #[test]
        fn no_text_of_a_user_or_server_brings_a_reader_down(text in ".{0,200}", tail in ".{0,40}") {
            for scheme in ["https://", "http://h/", "hf://", "s3://", "oci://", "oci:", ""] {
                let _ = place(&format!("{scheme}{text}"));
                let _ = shown(&format!("{scheme}{text}"));
            }
            if let Ok(url) = Url::parse(&format!("https://h/{text}")) {
                prop_assert_eq!(Url::parse(&url.to_string()).unwrap(), url.clone());
                prop_assert!(url.to_string().bytes().all(|byte| byte.is_ascii_graphic()));
                let _ = url.join(&tail);
            }
            prop_assert_eq!(url::unescape(&url::escape_path(&text)), text.clone());
            let _ = oci::Walk::default().manifest(text.as_bytes());
            let _ = s3::parse_page(&format!("<ListBucketResult><IsTruncated>true</IsTruncated>{text}</ListBucketResult>{tail}"));
            let _ = registry_token::parse_challenge(&format!("Bearer realm=\"{text}\"{tail}"));
        }
    }
}
