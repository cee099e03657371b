//! `casemate open --exec`: a command that sees the plaintext in memory, as long as it runs.
//!
//! The place is a directory of mode 0700 on a tmpfs, checked to be one: on any other file system the plaintext would be on a
//! disk again. It is removed when the command ends, also after SIGINT, SIGTERM and SIGHUP, which are handed on; SIGKILL and a
//! crash of the machine leave it until the next boot. A tmpfs may be swapped out: encrypt the swap, or have none.

#[cfg(not(target_os = "linux"))]
use crate::{commands::open::Job, context::Context, exit::Exit, exit::Failure};

#[cfg(target_os = "linux")]
pub use linux::run;

/// Refuses: only Linux tells what file system a directory is on.
#[cfg(not(target_os = "linux"))]
pub fn run(
    _: &Context,
    _: &[Job],
    _: &[Box<dyn casemate_provenance::seal::wrap::KeyWrapper>],
    _: &[String],
) -> Result<Exit, Failure> {
    Err(Failure::usage("--exec needs a file system in memory, which is known on Linux only; open into a file with -o"))
}

#[cfg(target_os = "linux")]
mod linux {
    use std::os::unix::process::ExitStatusExt as _;
    use std::path::{Path, PathBuf};
    use std::process::{Command, ExitStatus};
    use std::sync::atomic::AtomicI32;
    use std::sync::atomic::Ordering::SeqCst;

    use casemate_provenance::seal::wrap::KeyWrapper;
    use nix::sys::signal::{Signal, kill};
    use nix::sys::statfs::{TMPFS_MAGIC, statfs};
    use nix::unistd::Pid;

    use crate::commands::open::{Job, open_all, private_directory};
    use crate::context::{Context, INTERRUPTED};
    use crate::exit::{Exit, Failure};

    /// The command that runs, 0 when none does.
    static CHILD: AtomicI32 = AtomicI32::new(0);

    /// Opens `jobs` in memory and runs `command` on them.
    ///
    /// # Errors
    /// When there is no file system in memory with room, something does not open, or the command does not start.
    pub fn run(
        context: &Context,
        jobs: &[Job],
        keys: &[Box<dyn KeyWrapper>],
        command: &[String],
    ) -> Result<Exit, Failure> {
        // Never ends the process: what is in memory has to be removed first.
        let handler = || hand_on(if INTERRUPTED.swap(true, SeqCst) { Signal::SIGKILL } else { Signal::SIGTERM });
        ctrlc::set_handler(handler)
            .map_err(|error| Failure::not_evaluated(format!("signals could not be caught: {error}")))?;
        let bytes = jobs.iter().filter_map(|job| std::fs::metadata(&job.path).ok()).map(|file| file.len()).sum();
        let place = Place::make(bytes)?;
        open_all(context, jobs, keys, &place.0, false)?;
        let opened = match jobs {
            [job] if !job.is_named => place.0.join(&job.name),
            _ => place.0.clone(),
        };
        let status = run_command(command, &opened)?;
        drop(place);
        Ok(Exit::Handed(code(status)))
    }

    fn run_command(command: &[String], opened: &Path) -> Result<ExitStatus, Failure> {
        let [program, arguments @ ..] = command else { return Err(Failure::usage("--exec needs a command")) };
        let shown = opened.to_string_lossy();
        let arguments = arguments.iter().map(|argument| argument.replace("{}", &shown));
        let fail = |error| Failure::not_evaluated(format!("`{program}` could not be run: {error}"));
        let mut child = Command::new(program).args(arguments).env("CASEMATE_OPENED", opened).spawn().map_err(fail)?;
        CHILD.store(i32::try_from(child.id()).unwrap_or_default(), SeqCst);
        // A signal that came before there was anybody to hand it to.
        if INTERRUPTED.load(SeqCst) {
            hand_on(Signal::SIGTERM);
        }
        let status = child.wait().map_err(fail);
        CHILD.store(0, SeqCst);
        status
    }

    fn hand_on(signal: Signal) {
        let child = CHILD.load(SeqCst);
        if child > 0 {
            let _ = kill(Pid::from_raw(child), signal);
        }
    }

    /// As a shell says it: the code, or 128 and the signal.
    fn code(status: ExitStatus) -> u8 {
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
    }

    /// A directory in memory, gone when dropped.
    struct Place(PathBuf);

    impl Place {
        fn make(bytes: u64) -> Result<Self, Failure> {
            let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
            let tried: Vec<PathBuf> = [Some(PathBuf::from("/dev/shm")), runtime].into_iter().flatten().collect();
            for parent in &tried {
                let Ok(there) = statfs(parent.as_path()) else { continue };
                if there.filesystem_type() != TMPFS_MAGIC {
                    continue;
                }
                let free = there.blocks_available().saturating_mul(u64::try_from(there.block_size()).unwrap_or(0));
                if free < bytes {
                    continue;
                }
                let place = parent.join(format!("casemate-{}-{}", std::process::id(), unique()));
                if private_directory(&place).is_ok() {
                    return Ok(Self(place));
                }
            }
            let tried: Vec<String> = tried.iter().map(|path| path.display().to_string()).collect();
            Err(Failure::not_evaluated(format!(
                "none of {} is a file system in memory (tmpfs) with {bytes} bytes free that can be written to; mount one, or open into a \
                 file with -o",
                tried.join(", ")
            )))
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn unique() -> u128 {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos())
    }
}
