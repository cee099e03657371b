//! Zip archives that show different readers different members: 50 to 56.

use super::{Answer, Sample, Technique, pair, technique};
use crate::common::{Member, deflated, harmless, hostile, torch_zip, zip, zip_at, zip_without_directory};

fn data(pickle: &[u8]) -> Member {
    Member::stored("archive/data.pkl", pickle)
}

fn version() -> Member {
    Member::stored("archive/version", b"3\n")
}

fn pt(what: &str, bytes: Vec<u8>) -> Sample {
    pair(what, bytes, torch_zip(&harmless())).called("model.pt")
}

fn ambiguous(what: &str, bytes: Vec<u8>) -> Sample {
    pt(what, bytes).must_be(Answer::MaliciousAndAmbiguous)
}

pub fn techniques() -> Vec<Technique> {
    [headers(), layout(), members()].into_iter().flatten().collect()
}

fn headers() -> Vec<Technique> {
    let bad = || data(&hostile());
    // Twelve bytes stand before what is encrypted; its checksum is that of what it was.
    let noise: Vec<u8> = (0..64u8).map(|i| i.wrapping_mul(167).wrapping_add(0xb1)).collect();
    let locked = Member { flags: 1, unpacked: Some((52, 0x1234_5678)), ..data(&noise) };
    let renamed = |local: &str, listed: &str| Member { local_name: local.into(), name: listed.into(), ..bad() };
    vec![
        technique(
            50,
            "a wrong checksum, which torch ignores",
            vec![
                ambiguous("stored", zip(&[Member { crc_error: 1, ..bad() }, version()])),
                ambiguous(
                    "deflated",
                    zip(&[Member { crc_error: 1, ..deflated("archive/data.pkl", &hostile()) }, version()]),
                ),
            ],
        ),
        technique(
            51,
            "the encrypted flag on plain bytes",
            vec![
                pt("plain bytes", zip(&[Member { flags: 1, ..bad() }, version()])),
                pt("really encrypted", zip(&[locked, version()])).must_be(Answer::Unread),
            ],
        ),
        technique(
            52,
            "two names for one member",
            vec![
                ambiguous("the local one differs", zip(&[renamed("archive/other.pkl", "archive/data.pkl"), version()])),
                ambiguous(
                    "the directory calls it .txt",
                    zip(&[renamed("archive/data.pkl", "archive/notes.txt"), version()]),
                ),
            ],
        ),
        technique(
            53,
            "two members of one name",
            vec![
                ambiguous("hostile last", zip(&[data(&harmless()), bad(), version()])),
                ambiguous("hostile first", zip(&[bad(), data(&harmless()), version()])),
            ],
        ),
    ]
}

fn layout() -> Vec<Technique> {
    let (ok, bad) = (torch_zip(&harmless()), hostile());
    let both = [data(&bad), version()];
    vec![
        technique(
            54,
            "archives and pickles one after another",
            vec![
                ambiguous("two archives, hostile last", [&ok[..], &zip_at(&both, ok.len(), 2)].concat()),
                pt(
                    "two archives, hostile first",
                    [torch_zip(&bad), zip_at(&[data(&harmless()), version()], torch_zip(&bad).len(), 2)].concat(),
                ),
                pt("a pickle before", [&bad[..], &zip_at(&[data(&harmless()), version()], bad.len(), 2)].concat()),
                pt("a pickle after", [&ok[..], &bad].concat()),
                pt("bytes after the end record", [&ok[..], b"\x01\x02\x03"].concat())
                    .must_be(Answer::SuspiciousOrWorse),
            ],
        ),
        technique(
            55,
            "a directory that counts too few, or none",
            vec![
                ambiguous("the count", zip_at(&[version(), data(&bad)], 0, 1)),
                ambiguous("no directory", zip_without_directory(&both)),
            ],
        ),
    ]
}

fn members() -> Vec<Technique> {
    let with = |name: &str, inner: &[u8]| zip(&[data(&harmless()), Member::stored(name, inner), version()]);
    let member =
        |what: &str, name: &str| pair(what, with(name, &hostile()), with(name, &harmless())).called("model.pt");
    vec![technique(
        56,
        "a pickle in an odd member",
        vec![
            member("`.data/extra`", "archive/.data/extra"),
            member("`constants.pkl`", "archive/constants.pkl"),
            member("`bytecode.pkl`", "archive/bytecode.pkl"),
            member("among the storages", "archive/data/0"),
        ],
    )]
}
