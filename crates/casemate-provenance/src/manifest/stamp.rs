//! What tells that a file was written to or replaced: device, inode, size and times.
//!
//! The time an inode last changed cannot be set by a program, which is what makes a stamp worth believing; whoever writes to
//! the disk below the file system, or sets the clock back, gets past it.

use std::fs::Metadata;
use std::time::{Duration, SystemTime};

use casemate_core::Digest;

/// What tells that a file was written to or replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    is_file: bool,
    size_bytes: u64,
    modified: Option<SystemTime>,
    #[cfg(unix)]
    inode: (u64, u64, i64, i64),
}

impl Stamp {
    /// The stamp of a file with this metadata.
    pub fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt;
        Self {
            is_file: metadata.is_file(),
            size_bytes: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            inode: (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether it is that of a regular file.
    pub fn is_file(&self) -> bool {
        self.is_file
    }

    /// Length in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Whether the file had been left alone for `margin` at `now`: any later change shows in its stamp, however coarse the clock
    /// of the file system. Never on systems that do not say when an inode changed.
    pub fn is_settled(&self, now: SystemTime, margin: Duration) -> bool {
        #[cfg(unix)]
        let changed = {
            let (seconds, nanoseconds) = (u64::try_from(self.inode.2).ok(), u32::try_from(self.inode.3).ok());
            seconds.zip(nanoseconds).and_then(|(s, ns)| SystemTime::UNIX_EPOCH.checked_add(Duration::new(s, ns)))
        };
        #[cfg(not(unix))]
        let changed: Option<SystemTime> = None;
        changed.and_then(|changed| now.duration_since(changed).ok()).is_some_and(|age| age >= margin)
    }

    /// The stamp in short: SHA-256 over device, inode, size, and both times in nanoseconds; `None` for what is no regular file
    /// and on systems that do not say when an inode changed.
    #[cfg(unix)]
    pub fn id(&self) -> Option<Digest> {
        // Nanoseconds since 1970, before it negative.
        let modified = match self.modified?.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => i128::try_from(after.as_nanos()).ok()?,
            Err(before) => i128::try_from(before.duration().as_nanos()).ok()?.checked_neg()?,
        };
        let (device, inode, seconds, nanoseconds) = self.inode;
        let mut bytes = b"casemate-stamp-v1\0".to_vec();
        [device, inode, self.size_bytes].iter().for_each(|number| bytes.extend(number.to_be_bytes()));
        bytes.extend(modified.to_be_bytes());
        [seconds, nanoseconds].iter().for_each(|number| bytes.extend(number.to_be_bytes()));
        self.is_file.then(|| crate::hash::sha256(&bytes))
    }

    /// `None`: this system does not say when an inode changed.
    #[cfg(not(unix))]
    pub fn id(&self) -> Option<Digest> {
        None
    }
}
