//! `casemate seal`: encrypts models for storage.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use casemate_core::{Digest, FileSource};
use casemate_provenance::manifest::Listing;
use casemate_provenance::seal::place::{seal_file, set_digest, sync_names};
use casemate_provenance::seal::wrap::{KeyWrapper, Recipient};
use casemate_provenance::seal::{CHUNK_LOG2, Container, SealSettings, Sealed};
use rayon::prelude::*;

use crate::cli::SealArgs;
use crate::context::{Context, Project};
use crate::exit::{Exit, Failure};
use crate::gather::sealed::{SealedModel, seal_record};
use crate::sealing::{ENDING, borrowed, failure, keys_among, recipients, unlock};
use crate::state::State;
use crate::{models, progress};

/// Files up to this size are sealed one a thread; larger ones one after the other, each by all threads.
const SMALL_BYTES_MAX: u64 = 4 << 20;

/// One path of the command line.
struct Plan {
    listing: Listing,
    /// Where each file of the listing goes.
    targets: Vec<PathBuf>,
}

/// Runs the command.
pub fn run(context: &Context, args: &SealArgs) -> Result<Exit, Failure> {
    let started = context.now();
    let to = recipients(&args.to)?;
    let to = borrowed(&to);
    let openers = if args.remove { keys_among(&args.to)? } else { Vec::new() };
    if args.remove && openers.is_empty() {
        return Err(Failure::usage(
            "--remove needs a key that opens what was sealed (--key, --passphrase-file, or a private key as --recipient): \
             only then can the result be verified before the plaintext goes",
        ));
    }
    let plans = args.paths.iter().map(|path| plan(context, args, path)).collect::<Result<Vec<_>, _>>()?;
    let total = plans.iter().flat_map(|plan| &plan.listing.files).map(|(_, path)| size(path)).sum();
    let bar = progress::bar(context, "sealing", total);
    let project = context.project(None).ok().filter(State::exists).filter(|_| !args.no_record && !args.no_digest);
    for plan in &plans {
        let done = AtomicU64::new(0);
        let count = |step: u64| {
            bar.set_position(done.fetch_add(step, Ordering::Relaxed) + step);
            !context.is_interrupted()
        };
        let sealed = seal_all(plan, args, &to, &count)?;
        if args.remove {
            verify_and_remove(plan, &sealed, &openers)?;
        }
        let set = set_digest(&sealed.iter().map(|sealed| sealed.digest).collect::<Vec<_>>());
        let keys = sealed.first().map(|sealed| sealed.kek_ids.join(", ")).unwrap_or_default();
        let place = plan.targets.first().map(|path| path.display().to_string()).unwrap_or_default();
        let text = match sealed.len() {
            1 => format!("sealed {place}\n  opens with {keys}\n  sealed content {set}\n"),
            n => format!("sealed {n} files, {place} …\n  opens with {keys}\n  sealed content {set}\n"),
        };
        context.to_stdout(&text)?;
        if let Some(project) = &project {
            record(context, project, plan, &sealed, (set, started))?;
        }
    }
    bar.finish_and_clear();
    Ok(Exit::Passed)
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// What goes where, before anything is written.
fn plan(context: &Context, args: &SealArgs, path: &Path) -> Result<Plan, Failure> {
    let listing = Listing::of_path(path).map_err(Failure::not_evaluated)?;
    for skipped in &listing.skipped {
        context.say(&format!("`{}` is left out: {}", skipped.path, skipped.reason));
    }
    let is_file = listing.files.iter().all(|(name, _)| name == ".");
    let out = context.globals.output.as_deref();
    let file_name = path.file_name().map(PathBuf::from).unwrap_or_else(|| PathBuf::from(&listing.name));
    let target = |name: &str| match (out, is_file) {
        (None, true) => Ok(with_ending(path)),
        (None, false) => Err(Failure::usage(format!("`{}` is a directory: say with -o where to", path.display()))),
        (Some(out), true) if args.paths.len() > 1 || out.is_dir() => Ok(with_ending(&out.join(&file_name))),
        (Some(out), true) => Ok(out.to_owned()),
        (Some(out), false) if args.paths.len() > 1 => Ok(with_ending(&out.join(&file_name).join(name))),
        (Some(out), false) => Ok(with_ending(&out.join(name))),
    };
    let targets = listing.files.iter().map(|(name, _)| target(name)).collect::<Result<Vec<_>, _>>()?;
    if listing.files.is_empty() {
        return Err(Failure::usage(format!("`{}` holds no file", path.display())));
    }
    let inside = |out: &Path| {
        let near = out.ancestors().find_map(|above| std::fs::canonicalize(above).ok());
        !is_file && near.is_some_and(|near| near.starts_with(&listing.root))
    };
    if out.is_some_and(inside) {
        let message = format!("-o lies inside `{}`, which is to be sealed; choose a place outside", path.display());
        return Err(Failure::usage(message));
    }
    Ok(Plan { listing, targets })
}

fn with_ending(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ENDING);
    PathBuf::from(name)
}

/// Seals every file of the plan; the first failure ends it.
fn seal_all(
    plan: &Plan,
    args: &SealArgs,
    to: &[&dyn Recipient],
    count: &(dyn Fn(u64) -> bool + Sync),
) -> Result<Vec<Sealed>, Failure> {
    let jobs: Vec<_> = plan.listing.files.iter().zip(&plan.targets).collect();
    let one = |((name, from), target): &(&(String, PathBuf), &PathBuf), workers| {
        if let Some(parent) = target.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent)
                .map_err(|error| Failure::not_evaluated(format!("`{}`: {error}", parent.display())))?;
        }
        let name = if name == "." { plan.listing.name.as_str() } else { name };
        let seen = AtomicU64::new(0);
        let progress = |done: u64| count(done.saturating_sub(seen.swap(done, Ordering::Relaxed)));
        let settings =
            SealSettings { name, digest: !args.no_digest, chunk_log2: CHUNK_LOG2, workers, progress: &progress };
        seal_file(from, target, args.force, to, &settings).map_err(|error| failure(from, &error))
    };
    let is_small = |((_, from), _): &(&(String, PathBuf), &PathBuf)| size(from) <= SMALL_BYTES_MAX;
    let mut sealed: Vec<Option<Sealed>> = jobs
        .par_iter()
        .map(|job| if is_small(job) { one(job, 1).map(Some) } else { Ok(None) })
        .collect::<Result<_, Failure>>()?;
    for (slot, job) in sealed.iter_mut().zip(&jobs) {
        if slot.is_none() {
            *slot = Some(one(job, 0)?);
        }
    }
    Ok(sealed.into_iter().flatten().collect())
}

/// Opens everything that was written, compares it with what was sealed, and only then removes the plaintext.
fn verify_and_remove(plan: &Plan, sealed: &[Sealed], keys: &[Box<dyn KeyWrapper>]) -> Result<(), Failure> {
    for (((_, from), target), sealed) in plan.listing.files.iter().zip(&plan.targets).zip(sealed) {
        let written = crate::sealing::source(target)?;
        let opened = unlock(target, &written, keys)?;
        let mut compare = Compare { with: crate::sealing::source(from)?, at: 0 };
        opened.copy_to(&mut compare, 0, &|_| true).map_err(|error| failure(target, &error))?;
        if compare.at != size(from)
            || Container::read(&written).and_then(|file| file.digest()).ok() != Some(sealed.digest)
        {
            let message = format!("`{}` is not what `{}` holds; the latter is kept", target.display(), from.display());
            return Err(Failure::integrity(message));
        }
    }
    for target in &plan.targets {
        // A directory made just now may else be lost with what is in it.
        sync_names(target).map_err(|error| Failure::not_evaluated(format!("`{}`: {error}", target.display())))?;
    }
    for (_, from) in &plan.listing.files {
        std::fs::remove_file(from).map_err(|error| {
            Failure::not_evaluated(format!("`{}` is sealed and was not removed: {error}", from.display()))
        })?;
    }
    Ok(())
}

/// Takes bytes only as long as they are those of a file.
struct Compare {
    with: FileSource,
    at: u64,
}

impl std::io::Write for Compare {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        use casemate_core::SourceExt as _;
        if self.with.bytes_at(self.at, bytes.len() as u64)? != bytes {
            return Err(std::io::Error::other("it differs from what was to be sealed"));
        }
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Appends the record that links what was sealed with what it became.
fn record(
    context: &Context,
    project: &Project,
    plan: &Plan,
    sealed: &[Sealed],
    (set, started): (Digest, casemate_core::Timestamp),
) -> Result<(), Failure> {
    let contents: Option<Vec<_>> =
        sealed.iter().map(|file| Some((file.metadata.size_bytes, file.metadata.sha256?))).collect();
    let Some(digest) = contents.and_then(|contents| plan.listing.digest(&contents)) else { return Ok(()) };
    let keys = sealed.first().map_or(0, |file| file.kek_ids.len());
    let model = SealedModel { name: &models::name_of(project, &plan.listing), digest, set, files: sealed.len(), keys };
    let mut state = State::open_existing(project)?;
    super::check::refuse_damaged(&state.verify()?)?;
    let ids = state.append(&[seal_record(&model, (started, context.now()))])?;
    context.say(&format!("recorded {}", ids.concat()));
    Ok(())
}
