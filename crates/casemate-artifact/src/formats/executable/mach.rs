//! Mach-O: one architecture, or several in a fat file.

/// VAX, x86, ARM, SPARC and PowerPC in 32 bits; x86, ARM and PowerPC in 64; ARM64 with 32-bit pointers.
const CPUS: &[u32] = &[7, 12, 14, 18, 0x0100_0007, 0x0100_000c, 0x0100_0012, 0x0200_000c];
/// Java class files share the fat magic; there the next number is a version, at least 45.
const ARCHITECTURES_MAX: u32 = 30;

/// Whether the header of one architecture, or of a fat file with its first entry, is plausible in every field.
pub(super) fn is_header(head: &[u8], size: u64) -> bool {
    let big = |at: usize| head.get(at..).and_then(|rest| rest.first_chunk()).copied().map(u32::from_be_bytes);
    let little = |at: usize| big(at).map(u32::swap_bytes);
    match big(0) {
        Some(0xfeed_face | 0xfeed_facf) => is_single(&big, size),
        Some(0xcefa_edfe | 0xcffa_edfe) => is_single(&little, size),
        Some(0xcafe_babe) => is_fat(&big, big(16), big(20), size),
        // Wide offsets and sizes; their upper halves come first.
        Some(0xcafe_babf) => is_fat(&big, big(20), big(28), size),
        _ => false,
    }
}

fn is_single(field: &dyn Fn(usize) -> Option<u32>, size: u64) -> bool {
    let cpu = field(4).is_some_and(|cpu| CPUS.contains(&cpu));
    let kind = field(12).is_some_and(|kind| (1..=12).contains(&kind));
    let commands = field(16).zip(field(20)).is_some_and(|(count, bytes)| {
        (1..=10_000).contains(&count) && u64::from(count) * 8 <= u64::from(bytes) && 28 + u64::from(bytes) <= size
    });
    cpu && kind && commands
}

fn is_fat(field: &dyn Fn(usize) -> Option<u32>, offset: Option<u32>, len: Option<u32>, size: u64) -> bool {
    let count = field(4).is_some_and(|count| (1..=ARCHITECTURES_MAX).contains(&count));
    let cpu = field(8).is_some_and(|cpu| CPUS.contains(&cpu));
    count && cpu && offset.zip(len).is_some_and(|(offset, len)| u64::from(offset) + u64::from(len) <= size)
}
