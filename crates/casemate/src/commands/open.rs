//! `casemate open`: sealed models into files, into memory for a command, or a range of bytes to standard output.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use casemate_provenance::seal::place::open_file;
use casemate_provenance::seal::wrap::KeyWrapper;

use super::open_exec;
use crate::cli::OpenArgs;
use crate::context::{Context, write_whole};
use crate::exit::{Exit, Failure};
use crate::progress;
use crate::sealing::{ENDING, failure, keys, sealed_under, source, unlock};

/// Longest range that is written to a file with -o.
const RANGE_BYTES_MAX: u64 = 1 << 30;

/// One sealed file.
pub struct Job {
    /// Where it lies.
    pub path: PathBuf,
    /// Its name among what is opened.
    pub name: String,
    /// Whether the file itself must say that this is its name: within a directory, files must not change places.
    pub is_named: bool,
}

/// Runs the command.
pub fn run(context: &Context, args: &OpenArgs) -> Result<Exit, Failure> {
    if args.exec.is_empty() {
        return crate::interruptible(|| open(context, args));
    }
    let keys = keys(&args.with)?;
    open_exec::run(context, &jobs(args)?, &keys, &args.exec)
}

fn open(context: &Context, args: &OpenArgs) -> Result<Exit, Failure> {
    let keys = keys(&args.with)?;
    let jobs = jobs(args)?;
    if let Some(range) = args.range {
        return open_range(context, &jobs, &keys, range);
    }
    let Some(out) = &context.globals.output else {
        return Err(Failure::usage(
            "say where to with -o FILE or DIR (`-o -` is standard output), or run a command with --exec",
        ));
    };
    let is_directory = jobs.iter().any(|job| job.is_named) || jobs.len() > 1;
    match (is_directory, jobs.as_slice()) {
        (false, [job]) if out == Path::new("-") => to_stdout(job, &keys),
        (false, [job]) => {
            let target = if out.is_dir() { out.join(&job.name) } else { out.clone() };
            open_one(context, job, &keys, &target, args.force)?;
            context.say(&format!("opened {}", target.display()));
            Ok(Exit::Passed)
        }
        _ => into_directory(context, &jobs, &keys, out, args.force),
    }
}

/// The sealed files asked for.
fn jobs(args: &OpenArgs) -> Result<Vec<Job>, Failure> {
    match args.paths.as_slice() {
        [root] if root.is_dir() => {
            let found = sealed_under(root)?;
            Ok(found.into_iter().map(|(name, path)| Job { path, name, is_named: true }).collect())
        }
        paths => paths.iter().map(|path| job(path)).collect(),
    }
}

fn job(path: &Path) -> Result<Job, Failure> {
    if path.is_dir() {
        let message = format!("`{}` is a directory: open it by itself", path.display());
        return Err(Failure::usage(message));
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.strip_suffix(ENDING).map_or_else(|| format!("{name}.opened"), str::to_owned);
    Ok(Job { path: path.to_owned(), name, is_named: false })
}

/// Opens every file into a new directory that gets its name when all of them are verified.
fn into_directory(
    context: &Context,
    jobs: &[Job],
    keys: &[Box<dyn KeyWrapper>],
    out: &Path,
    force: bool,
) -> Result<Exit, Failure> {
    let fail = |error: std::io::Error| Failure::not_evaluated(format!("`{}`: {error}", out.display()));
    if out.exists() {
        if !force && std::fs::read_dir(out).map_err(fail)?.next().is_some() {
            let message = format!("`{}` is not empty; --force replaces the files in it", out.display());
            return Err(Failure::usage(message));
        }
        open_all(context, jobs, keys, out, force)?;
    } else {
        let temporary = out.with_added_extension(format!("casemate-{}.tmp", std::process::id()));
        private_directory(&temporary).map_err(fail)?;
        let opened = open_all(context, jobs, keys, &temporary, false)
            .and_then(|()| std::fs::rename(&temporary, out).map_err(fail));
        if opened.is_err() {
            let _ = std::fs::remove_dir_all(&temporary);
        }
        opened?;
    }
    context.say(&format!("opened {} files in {}", jobs.len(), out.display()));
    Ok(Exit::Passed)
}

/// Opens every file under `root`.
///
/// # Errors
/// At the first that is not as it was sealed or cannot be written.
pub fn open_all(
    context: &Context,
    jobs: &[Job],
    keys: &[Box<dyn KeyWrapper>],
    root: &Path,
    force: bool,
) -> Result<(), Failure> {
    for job in jobs {
        let target = root.join(&job.name);
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent)
                .map_err(|error| Failure::not_evaluated(format!("`{}`: {error}", parent.display())))?;
        }
        open_one(context, job, keys, &target, force)?;
    }
    Ok(())
}

fn open_one(
    context: &Context,
    job: &Job,
    keys: &[Box<dyn KeyWrapper>],
    target: &Path,
    force: bool,
) -> Result<(), Failure> {
    let sealed = source(&job.path)?;
    let opened = unlock(&job.path, &sealed, keys)?;
    let inner = &opened.metadata().name;
    if job.is_named && *inner != job.name {
        let message = format!(
            "`{}` was sealed as `{}`: files changed places, or this is not the directory they were sealed into",
            job.path.display(),
            inner.escape_debug()
        );
        return Err(Failure::integrity(message));
    }
    let bar = progress::bar(context, "opening", opened.metadata().size_bytes);
    let go_on = |done: u64| {
        bar.set_position(done);
        !context.is_interrupted()
    };
    let result = open_file(&opened, target, force, 0, &go_on).map_err(|error| failure(&job.path, &error));
    bar.finish_and_clear();
    result
}

fn to_stdout(job: &Job, keys: &[Box<dyn KeyWrapper>]) -> Result<Exit, Failure> {
    let sealed = source(&job.path)?;
    let opened = unlock(&job.path, &sealed, keys)?;
    let mut out = std::io::stdout();
    opened.copy_to(&mut out, 0, &|_| true).map_err(|error| failure(&job.path, &error))?;
    out.flush().map_err(|error| Failure::not_evaluated(format!("standard output: {error}")))?;
    Ok(Exit::Passed)
}

fn open_range(
    context: &Context,
    jobs: &[Job],
    keys: &[Box<dyn KeyWrapper>],
    (offset, length): (u64, u64),
) -> Result<Exit, Failure> {
    let [job] = jobs else { return Err(Failure::usage("--range is for one file")) };
    let sealed = source(&job.path)?;
    let opened = unlock(&job.path, &sealed, keys)?;
    match &context.globals.output {
        Some(path) if path != Path::new("-") => {
            if length > RANGE_BYTES_MAX {
                return Err(Failure::usage("a range this long goes to standard output, or open the whole file"));
            }
            let mut bytes = Vec::new();
            opened.open_range(offset, length, &mut bytes).map_err(|error| failure(&job.path, &error))?;
            write_whole(path, &bytes)?;
        }
        _ => {
            let mut out = std::io::stdout();
            opened.open_range(offset, length, &mut out).map_err(|error| failure(&job.path, &error))?;
            out.flush().map_err(|error| Failure::not_evaluated(format!("standard output: {error}")))?;
        }
    }
    Ok(Exit::Passed)
}

/// Makes a directory for the owner only.
///
/// # Errors
/// When it is there already, or cannot be made.
pub fn private_directory(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
