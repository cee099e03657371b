//! Archives Python's `tarfile` wrote (the fuzz seeds), and headers whose every field is free to lie.

use proptest::prelude::*;

use super::*;
use crate::formats::testing::{
    any_bytes, assert_bounded, assert_whole, content, hidden, messages, mutants, parse, sniff, troubles,
};

const GNU: &[u8] = include_bytes!("../../../../../fuzz/seeds/tar/gnu.tar");
const PAX: &[u8] = include_bytes!("../../../../../fuzz/seeds/tar/pax.tar");
const USTAR: &[u8] = include_bytes!("../../../../../fuzz/seeds/tar/ustar.tar");
const STORAGES: &[u8] = include_bytes!("../../../../../fuzz/seeds/tar/torch-storages.tar");
const TORCH: &[u8] = include_bytes!("../../../../../fuzz/seeds/tar/torch.tar");

/// A header with the right sum, and its data.
fn member(name: &str, kind: u8, link: &str, data: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..135].copy_from_slice(format!("{:011o}", data.len()).as_bytes());
    header[148..156].fill(b' ');
    header[156] = kind;
    header[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
    let padding = data.len().next_multiple_of(512) - data.len();
    [header, data.to_vec(), vec![0; padding]].concat()
}

fn names(parsed: &Parsed) -> Vec<&str> {
    parsed.children.iter().map(|child| child.name.as_str()).collect()
}

#[test]
fn archives_of_every_kind_are_whole() {
    for sample in [GNU, PAX, USTAR, TORCH] {
        assert_eq!(sniff(&Tar, sample), Sniff::Certain);
        assert_whole(&parse(&Tar, sample), sample);
    }
    assert_eq!(names(&parse(&Tar, GNU)), ["a.pkl", &format!("{}.pkl", "l".repeat(120))]);
    assert_eq!(names(&parse(&Tar, PAX)), [&format!("{}.pkl", "é".repeat(80)), "b"]);
    assert_eq!(names(&parse(&Tar, USTAR)), [format!("{}a.pkl", "d/".repeat(60))]);
    assert_eq!(content(&parse(&Tar, GNU).children[0]), b"\x80\x02N.");
}

#[test]
fn the_pickle_of_an_old_torch_tar_is_known() {
    let parsed = parse(&Tar, TORCH);
    assert_eq!(parsed.refined, Some("torch-tar"));
    let roles: Vec<Role> = parsed.children.iter().map(|child| child.role).collect();
    assert_eq!(roles, [Role::Any, Role::TorchPickle, Role::Any, Role::Any]);
}

#[test]
fn pickles_and_numbers_of_an_old_torch_tar_are_told_apart() {
    let parsed = parse(&Tar, STORAGES);
    assert_eq!(messages(&parsed), "");
    let parts: Vec<_> = parsed.children.iter().map(|child| (child.role, content(child).len())).collect();
    let (any, raw) = (Role::Any, Role::RawData);
    assert_eq!(parts[2..], [(any, 5), (any, 27), (raw, 48), (any, 5), (any, 34), (raw, 24), (any, 4)]);
    // A count of numbers that the member does not have.
    let mut bytes = STORAGES.to_vec();
    let at = bytes.windows(8).position(|window| window == [4, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    bytes[at + 4] = 1;
    let parsed = parse(&Tar, &bytes);
    assert_eq!(troubles(&parsed), [Trouble::Ambiguous]);
    assert_eq!(parsed.children.last().map(|child| content(child).len()), Some(34 + 24 + 4));
}

#[test]
fn names_and_links_that_lead_out_are_references() {
    let bytes =
        [member("../x", b'0', "", b"x"), member("l", b'2', "/etc", b""), member("h", b'1', "a/b", b"")].concat();
    let parsed = parse(&Tar, &bytes);
    let found: Vec<_> = parsed.references.iter().map(|r| (r.kind, r.target.as_str())).collect();
    let (name, link) = (ReferenceKind::MemberName, ReferenceKind::LinkTarget);
    assert_eq!(found, [(name, "../x"), (link, "/etc"), (link, "a/b")]);
    assert_eq!(messages(&parsed), "");
}

#[test]
fn devices_and_members_behind_links_are_references() {
    let data = |name| member(name, b'0', "", b"x");
    let kinds = |bytes: &[u8]| parse(&Tar, bytes).references.iter().map(|r| r.kind).collect::<Vec<_>>();
    for kind in [b'3', b'4', b'6'] {
        assert_eq!(kinds(&member("d", kind, "", b"")), [ReferenceKind::Device]);
    }
    let link = member("l", b'2', "x", b"");
    let found = [ReferenceKind::LinkTarget, ReferenceKind::ThroughLink];
    assert_eq!(kinds(&[link.clone(), data("l/a")].concat()), found);
    assert_eq!(kinds(&[link.clone(), data("l/b/c")].concat()), found);
    assert_eq!(kinds(&[link, data("ll/a")].concat()), found[..1]);
}

#[test]
fn what_readers_disagree_about_is_ambiguous() {
    let data = |name| member(name, b'0', "", b"x");
    for (what, bytes) in [
        ("twice", [data("a"), data("a")].concat()),
        // CVE-2025-62518: two readers find different members.
        ("two sizes", [member("p", b'x', "", b"10 size=2\n"), data("a")].concat()),
        ("link with data", {
            let mut link = member("l", b'1', "a", b"");
            (link[134], link[153]) = (b'1', link[153] + 1);
            link
        }),
        ("for all", [member("g", b'g', "", b"10 path=a\n"), data("b")].concat()),
    ] {
        assert_eq!(troubles(&parse(&Tar, &bytes)), [Trouble::Ambiguous], "{what}");
    }
}

#[test]
fn what_cannot_be_followed_is_undecodable() {
    let data = member("a", b'0', "", &[1; 600]);
    for (what, bytes) in [
        ("sparse", member("s", b'S', "", b"x")),
        ("cut", data[..700].to_vec()),
        ("cut header", [&data[..], &data[..100]].concat()),
        ("wrong sum", [&data[..], &[b'x'; 512]].concat()),
        ("pax", member("p", b'x', "", b"99 path=a\n")),
    ] {
        assert_eq!(troubles(&parse(&Tar, &bytes)), [Trouble::Undecodable], "{what}");
    }
    let long = member("n", b'L', "", &[b'a'; 100_000]);
    assert_eq!(troubles(&parse(&Tar, &long)), [Trouble::Limit]);
}

#[test]
fn bytes_in_padding_and_after_the_end_are_nobodys() {
    let mut bytes = [member("a", b'0', "", b"x"), vec![0; 1024], b"after".to_vec()].concat();
    bytes[600] = 1;
    let hidden = hidden(&parse(&Tar, &bytes), &bytes);
    assert_eq!(hidden.iter().map(|gap| gap.start).collect::<Vec<_>>(), [513, 2048]);
}

proptest! {
    #[test]
    fn parsing_returns_on_any_bytes(bytes in any_bytes(GNU)) {
        assert_bounded(&Tar, &bytes);
    }

    #[test]
    fn parsing_returns_on_mutants(bytes in prop_oneof![mutants(GNU.to_vec()), mutants(PAX.to_vec())]) {
        assert_bounded(&Tar, &bytes);
    }
}
