//! Archives in archives, packed files, and names that lead out: 57 to 60.

use super::{Answer, Sample, Technique, around, pair, technique};
use crate::common::{Member, decode_hex, gzip, harmless, hostile, pickle, seven_zip, tar, zip};

/// `os.system('echo x')` and `collections.OrderedDict('echo x')` as Python's modules pack them.
const PACKED: &[(&str, &str, &str)] = &[
    (
        "gz",
        "1f8b08000000000002036b60e961ca2fee612bae2c2e49cd9dacd1c3969a9c91af505112a4070067fc7c151b000000",
        "1f8b08000000000002036b60e9e14ececfc9494d2ec9cccf2beee1f62f4a492d4a4d71c94c2e99acd1c3969a9c91af505112a40700feb7923629000000",
    ),
    (
        "bz2",
        "425a6839314159265359f69c686200000b53e01500404110000a428c60400408002000229a0191a3650a64c4c83230049396875a3d7ac70a4f9040a9f8bb9229c28487b4e34310",
        "425a68393141592653591c12645200001257e005084041040090000e659c404004080020002229b536a30d1334c285068d1a0c80d19fa483cd1f4324931a8fbc4a91829596ed040aef119fc5dc914e14240704991480",
    ),
    (
        "xz",
        "fd377a585a000004e6d6b4460200210116000000742fe5a301001a80048c026f738c0673797374656d93288c066563686f207874522e00003c3684af36ada1900001331bf719885e1fb6f37d010000000004595a",
        "fd377a585a000004e6d6b4460200210116000000742fe5a301002880048c0b636f6c6c656374696f6e738c0b4f7264657265644469637493288c066563686f207874522e00000000e72158fce577212f000141290353568b1fb6f37d010000000004595a",
    ),
    (
        "lzma",
        "5d00008000ffffffffffffffff0040010d36fc072837634969fc098014f87702e4013c9524a40deff6d83ebd310dffffd41d8000",
        "5d00008000ffffffffffffffff0040010d37b10a12bd9fdb4a68e67f0850117768c61639e54e774a780a2f420864ba6d6c16f65fdc949835855bb78ffff9df9800",
    ),
    (
        "zst",
        "28b52ffd201bd9000080048c026f738c0673797374656d93288c066563686f207874522e",
        "28b52ffd202949010080048c0b636f6c6c656374696f6e738c0b4f7264657265644469637493288c066563686f207874522e",
    ),
    (
        "lz4",
        "04224d1868401b00000000000000fa1b00008080048c026f738c0673797374656d93288c066563686f207874522e00000000",
        "04224d1868402900000000000000032900008080048c0b636f6c6c656374696f6e738c0b4f7264657265644469637493288c066563686f207874522e00000000",
    ),
    (
        "z",
        "789c6b60e961ca2fee612bae2c2e49cd9dacd1c3969a9c91af505112a4070087d909a4",
        "789c6b60e9e14ececfc9494d2ec9cccf2beee1f62f4a492d4a4d71c94c2e99acd1c3969a9c91af505112a4070040a60f13",
    ),
];

/// The same two in a tar in xz, as Python's `tarfile` and `lzma` write it.
const TAR_XZ: (&str, &str) = (
    "fd377a585a000004e6d6b4460200210116000000742fe5a3e009ff00615d00368bc8865474ae62e89031cb970d66efba81fcb8800516ae982097548f8b64dc25513480bd2a772431f2e59d06186c23ea3d0c906a80eda35f59e46bf8aa615882a4a3c7055b3ec7669c63a7e4cc0ef3a755393b5d209861bc34019b63e5a9590000000000b8f4c4395a3f4e9700017d801400000098ba741ab1c467fb020000000004595a",
    "fd377a585a000004e6d6b4460200210116000000742fe5a3e009ff006e5d00368bc8865474ae62e89031cb970d66efba81fcb8800516aea386d6bb14c40102b122325b2eb3aeee99561d8b72ffcd074fb4691d75b676a8bae420d6b23ecdee7037ac15c863e9bf1b40bf16e37b21b548ed024fb0d7700ad9a36159b566bda61bf2dac8c3fd72f591f0f4f12300000000fef5829d032f67dc00018a0180140000447768b7b1c467fb020000000004595a",
);

pub fn techniques() -> Vec<Technique> {
    vec![
        technique(57, "7z under torch's ending", seven_zips()),
        technique(58, "archives in archives and packed pickles", packed()),
        technique(59, "the tar torch wrote before its first zip", old_torch()),
        technique(60, "names of members that lead out", traversal())
            .near("model.tar", tar(&[("a..b/..x", b'0', "", b"text\n")]))
            .near("model.zip", zip(&[Member::stored("a..b/..x", b"text\n")])),
    ]
}

fn seven_zips() -> Vec<Sample> {
    ["model.bin", "model.pt", "model.7z"]
        .map(|name| around(&format!("as `{name}`"), name, |bytes| seven_zip("data", bytes)))
        .into()
}

fn packed() -> Vec<Sample> {
    let member = |bytes: &[u8]| zip(&[Member::stored("data.pkl", bytes)]);
    let as_tar = |bytes: &[u8]| tar(&[("m/data.pkl", b'0', "", bytes)]);
    let mut samples = vec![
        around("zip in zip in zip", "a.zip", |bytes| {
            zip(&[Member::stored("a.zip", &zip(&[Member::stored("b.zip", &member(bytes))]))])
        }),
        around("tar.gz", "a.tar.gz", |bytes| gzip(&as_tar(bytes))),
        pair("tar.xz", decode_hex(TAR_XZ.0), decode_hex(TAR_XZ.1)).called("a.tar.xz"),
        around("zip in tar in gzip in gzip", "a", |bytes| gzip(&gzip(&tar(&[("x", b'0', "", &member(bytes))])))),
        pair(
            "the second member of a gzip",
            [gzip(&harmless()), gzip(&hostile())].concat(),
            gzip(&harmless()).repeat(2),
        )
        .called("a.pkl.gz"),
        pair("after the last member of a gzip", [gzip(&harmless()), hostile()].concat(), gzip(&harmless()))
            .called("a.pkl.gz"),
        pair("deeper than is followed", (0..12).fold(hostile(), |bytes, _| gzip(&bytes)), gzip(&harmless()))
            .called("a.gz")
            .must_be(Answer::Unread),
    ];
    for (codec, hostile, harmless) in PACKED {
        for name in ["model.pkl", &format!("model.pkl.{codec}"), "model.joblib"] {
            samples.push(pair(&format!("{codec} as `{name}`"), decode_hex(hostile), decode_hex(harmless)).called(name));
        }
    }
    samples
}

fn old_torch() -> Vec<Sample> {
    let none = pickle(&[b"N"]);
    let place = |place: &'static str| {
        let none = &none;
        around(&format!("in `{place}`"), "model.pt", move |bytes| {
            let data = |name| if name == place { bytes } else { none };
            tar(&["sys_info", "pickle", "tensors", "storages"].map(|name| (name, b'0', "", data(name))))
        })
    };
    ["pickle", "storages", "tensors", "sys_info"].map(place).into_iter().collect()
}

fn traversal() -> Vec<Sample> {
    let plain_zip = || zip(&[Member::stored("a/x", b"text\n")]);
    let plain_tar = || tar(&[("d/x.txt", b'0', "", b"text\n")]);
    let mut samples = Vec::new();
    for name in ["../x", "/etc/x", "..\\x", "C:\\x", "a/../../x"] {
        let zipped = zip(&[Member::stored(name, b"text\n")]);
        samples.push(pair(&format!("zip: `{name}`"), zipped, plain_zip()).called("model.zip"));
        let tarred = tar(&[(name, b'0', "", b"text\n")]);
        samples.push(pair(&format!("tar: `{name}`"), tarred, plain_tar()).called("model.tar"));
    }
    let special = |name: &str, mode: u32, data: &[u8]| Member { attributes: mode << 16, ..Member::stored(name, data) };
    let link = |target: &[u8]| special("link", 0o120_777, target);
    for target in ["../../secret", "/etc/secret"] {
        let (bytes, twin) = (zip(&[link(target.as_bytes())]), zip(&[link(b"beside.txt")]));
        samples.push(pair(&format!("zip: link to `{target}`"), bytes, twin).called("model.zip"));
    }
    let through = zip(&[special("d", 0o120_777, b"e"), Member::stored("d/x", b"text\n")]);
    samples.push(pair("zip: written through a link", through, plain_zip()).called("model.zip"));
    samples.push(pair("zip: a device", zip(&[special("d", 0o020_666, b"")]), plain_zip()).called("model.zip"));
    for (what, members) in [
        ("symbolic link", vec![("l", b'2', "../../etc", &b""[..])]),
        ("hard link outside", vec![("l", b'1', "/etc/passwd", b"")]),
        ("written through a link", vec![("d", b'2', "e", b""), ("d/x", b'0', "", b"text\n")]),
        ("a character device", vec![("d", b'3', "", b"")]),
        ("a block device", vec![("d", b'4', "", b"")]),
        ("a pipe", vec![("d", b'6', "", b"")]),
    ] {
        samples.push(pair(&format!("tar: {what}"), tar(&members), plain_tar()).called("model.tar"));
    }
    samples
}
