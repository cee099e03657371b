//! The catalogue: every control with the lists it refers to, checked as a whole before anything is assessed.
//!
//! It is compiled from texts: the binary reads the files. Every mistake of every file is reported at once, because a
//! catalogue is mended by people. A user's overlay may add controls and tighten those that exist, never loosen them.

mod error;
mod lists;
mod overlay;
mod schema;

use std::collections::BTreeMap;

use serde::Serialize;

pub use error::{CatalogueError, Problem};
pub use lists::{Framework, Kind, Obligation, ReviewStatus, Unit};

use crate::control::Control;
use crate::gate::Gates;
use lists::Lists;
use schema::Origin;

/// The texts a catalogue is made of, each with its path. Paths are `/`-separated.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// `controls/<stage>/<ID>.toml`.
    pub controls: &'a [(String, String)],
    /// `frameworks/*.toml`, with `crosswalk-<framework>.toml` for renumbered ids.
    pub frameworks: &'a [(String, String)],
    /// `kinds.toml`.
    pub kinds: (&'a str, &'a str),
    /// `gates.toml`.
    pub gates: (&'a str, &'a str),
    /// `obligations.toml`.
    pub obligations: (&'a str, &'a str),
}

/// A compiled catalogue.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Catalogue {
    lists: Lists,
    /// As shipped.
    builtin: BTreeMap<String, Control>,
    /// With the overlay, or as shipped when there is none.
    effective: BTreeMap<String, Control>,
    has_overlay: bool,
    gates: Gates,
}

impl Catalogue {
    /// The catalogue made of `sources`.
    ///
    /// # Errors
    /// Every mistake in every file, ordered by file: schema, ids, places, predicates, methods, unknown kinds, facts,
    /// framework ids and editions.
    pub fn compile(sources: &Sources) -> Result<Self, Vec<CatalogueError>> {
        let mut errors = Vec::new();
        let lists = Lists::read(sources, &mut errors);
        let controls = read_controls(sources.controls, Origin::BuiltIn, &lists, &mut errors);
        errors.extend(schema::disagreements(&controls));
        let builtin: BTreeMap<String, Control> = controls.into_iter().map(|(id, (_, control))| (id, control)).collect();
        let (path, text) = sources.gates;
        // With a control that could not be read, a gate that requires it is not a second mistake.
        let all_read = errors.is_empty();
        let is_control = |id: &str| !all_read || builtin.contains_key(id);
        let gates = Gates::parse(path, text, &is_control).map_err(|more| errors.extend(more)).unwrap_or_default();
        if !errors.is_empty() {
            return Err(sorted(errors));
        }
        Ok(Self { lists, effective: builtin.clone(), builtin, has_overlay: false, gates })
    }

    /// This catalogue with a user's controls `files` on top.
    ///
    /// A file whose id exists replaces that control and must ask at least as much: severity not lower, evidence not older,
    /// every check kept, never narrower in `applies`. A file with a new id adds a control.
    ///
    /// # Errors
    /// As [`Catalogue::compile`], and [`Problem::Loosened`] for each way in which a control would ask less.
    pub fn with_overlay(&self, files: &[(String, String)]) -> Result<Self, Vec<CatalogueError>> {
        let mut errors = Vec::new();
        let mut controls = read_controls(files, Origin::Overlay, &self.lists, &mut errors);
        for (path, control) in controls.values() {
            if let Some(base) = self.effective.get(&control.id) {
                errors.extend(overlay::loosened(base, control).into_iter().map(|how| CatalogueError {
                    file: path.clone(),
                    problem: Problem::Loosened { id: control.id.clone(), how },
                }));
            }
        }
        for (id, control) in &self.effective {
            controls.entry(id.clone()).or_insert_with(|| ("the catalogue".into(), control.clone()));
        }
        errors.extend(schema::disagreements(&controls));
        if !errors.is_empty() {
            return Err(sorted(errors));
        }
        let effective = controls.into_iter().map(|(id, (_, control))| (id, control)).collect();
        Ok(Self { effective, has_overlay: self.has_overlay || !files.is_empty(), ..self.clone() })
    }

    /// Every control in order of id, overlay included.
    pub fn controls(&self) -> impl Iterator<Item = &Control> {
        self.effective.values()
    }

    /// The control called `id`, overlay included.
    pub fn control(&self, id: &str) -> Option<&Control> {
        self.effective.get(id)
    }

    /// Every control as shipped, in order of id.
    pub fn builtin_controls(&self) -> impl Iterator<Item = &Control> {
        self.builtin.values()
    }

    /// The control called `id` as shipped.
    pub fn builtin_control(&self, id: &str) -> Option<&Control> {
        self.builtin.get(id)
    }

    /// True when a user's overlay is part of it.
    pub fn has_overlay(&self) -> bool {
        self.has_overlay
    }

    /// The kind of evidence called `kind`.
    pub fn kind(&self, kind: &str) -> Option<&Kind> {
        self.lists.kinds.get(kind)
    }

    /// Every kind of evidence, in order of name.
    pub fn kinds(&self) -> impl Iterator<Item = (&str, &Kind)> {
        self.lists.kinds.iter().map(|(name, kind)| (name.as_str(), kind))
    }

    /// Every framework edition, in order of `framework@edition`.
    pub fn frameworks(&self) -> impl Iterator<Item = &Framework> {
        self.lists.frameworks.values()
    }

    /// How the ids of `framework` were renumbered, from `edition:id` to `edition:id`.
    pub fn crosswalk(&self, framework: &str) -> Option<&BTreeMap<String, String>> {
        self.lists.crosswalks.get(framework)
    }

    /// Every obligation, in order of id.
    pub fn obligations(&self) -> &[Obligation] {
        &self.lists.obligations
    }

    /// The gate policies.
    pub fn gates(&self) -> &Gates {
        &self.gates
    }

    /// The bytes whose digest identifies this catalogue: the same for the same content, whatever the order, comments and
    /// spacing of the files.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a catalogue is plain data with text keys")
    }
}

fn read_controls(
    files: &[(String, String)],
    origin: Origin,
    lists: &Lists,
    errors: &mut Vec<CatalogueError>,
) -> BTreeMap<String, (String, Control)> {
    let mut controls: BTreeMap<String, (String, Control)> = BTreeMap::new();
    let mut files: Vec<&(String, String)> = files.iter().collect();
    files.sort();
    for (path, text) in files {
        match schema::control(path, text, origin, lists) {
            Ok(control) => {
                if let Some((other, _)) = controls.get(&control.id) {
                    let problem = Problem::Duplicate { id: control.id, other: other.clone() };
                    errors.push(CatalogueError { file: path.clone(), problem });
                } else {
                    controls.insert(control.id.clone(), (path.clone(), control));
                }
            }
            Err(more) => errors.extend(more),
        }
    }
    controls
}

fn sorted(mut errors: Vec<CatalogueError>) -> Vec<CatalogueError> {
    errors.sort_by_cached_key(ToString::to_string);
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, ControlText};

    fn messages(errors: Vec<CatalogueError>) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    fn compile_one(text: &str) -> Vec<String> {
        let files = [("controls/release/SUP-01.toml".to_owned(), text.to_owned())];
        fixture::compile(&files).map(|_| Vec::new()).unwrap_or_else(messages)
    }

    #[test]
    fn a_sound_catalogue_compiles_and_its_bytes_ignore_order_and_comments() {
        let one = ("controls/release/SUP-01.toml".to_owned(), ControlText::new("SUP-01").text());
        let two = ("controls/release/SUP-02.toml".to_owned(), ControlText::new("SUP-02").text());
        let plain = fixture::compile(&[one.clone(), two.clone()]).unwrap();
        let commented = fixture::compile(&[two, (one.0, format!("# first\n\n{}", one.1))]).unwrap();
        assert_eq!(plain.canonical_bytes(), commented.canonical_bytes());
        assert_eq!(plain.controls().count(), 2);
    }

    #[test]
    fn every_mistake_is_named_with_its_file() {
        let sound = ControlText::new("SUP-01").text();
        for (from, to, message) in [
            ("id = \"SUP-01\"", "id = \"SUP-09\"", "control `SUP-09` must lie in a file `SUP-09.toml`"),
            (
                "stage = \"release\"",
                "stage = \"data\"",
                "a control of stage `data` must lie in a directory `data`, not `release`",
            ),
            ("severity = \"high\"", "severity = \"severe\"", "line 3: unknown variant `severe`"),
            ("severity = \"high\"", "severity = \"info\"", "severity `info` weighs nothing"),
            ("title = ", "titel = ", "line 2: unknown field `titel`"),
            ("owasp-ml@2023:ML06", "ML06", "`ML06` is not written `framework@edition:id`"),
            ("owasp-ml@2023:ML06", "owasp-ml@2023:ML66", "`owasp-ml@2023:ML66` is not in `owasp-ml@2023`"),
            (
                "owasp-ml@2023:ML06",
                "owasp-ml@2021:ML06",
                "names the list `owasp-ml@2021`, which the catalogue does not have",
            ),
            ("\"artifact.scan\"", "\"artifact.scam\"", "evidence kind `artifact.scam` is not in the list of kinds"),
            ("applies = \"all\"", "applies = \"servd\"", "`applies` reads `servd`, which is no fact of a system"),
            (
                "applies = \"all\"",
                "applies = \"llm and\"",
                "`applies` is `llm and`: column 8: expected a name or a value",
            ),
            ("outcome == pass", "outcome = pass", "`pass` is `outcome = pass`: column 9"),
            ("outcome == pass", "true", "`pass` is `true`, which reads nothing of the evidence"),
            ("verification = \"A\"", "verification = \"A+P\"", "verification `A+P` does not fit checks of method A"),
            ("method = \"A\"", "method = \"P\"", "evidence kind `artifact.scan` cannot have method P"),
            ("subject = \"model\"", "subject = \"modell\"", "unknown variant `modell`"),
            ("days = 7", "per = \"dataset-digest\"", "no check has subject `dataset`"),
            ("days = 7", "days = 0", "`max_age.days` is empty"),
            ("command = \"casemate scan PATH\"", "command = \" \"", "`remediation.command` is empty"),
            ("command = \"casemate scan PATH\"", "", "missing field `command`"),
        ] {
            let broken = sound.replacen(from, to, 1);
            assert_ne!(broken, sound, "{from}");
            let found = compile_one(&broken).join("\n");
            assert!(found.starts_with("controls/release/SUP-01.toml: ") && found.contains(message), "{from}: {found}");
        }
    }

    #[test]
    fn all_mistakes_are_reported_at_once_in_order_of_file() {
        let files = ["SUP-03", "SUP-02"].map(|id| {
            let text = ControlText::new(id).text().replace("ML06", "ML66").replace("artifact.scan", "artifact.scam");
            (format!("controls/release/{id}.toml"), text)
        });
        let found = messages(fixture::compile(&files).unwrap_err());
        assert_eq!(found.len(), 4);
        assert!(found.is_sorted(), "{found:#?}");
    }

    #[test]
    fn one_id_in_two_directories_is_a_duplicate() {
        let text = ControlText::new("SUP-01").text();
        let files = [("a/release/SUP-01.toml".to_owned(), text.clone()), ("b/release/SUP-01.toml".to_owned(), text)];
        let found = messages(fixture::compile(&files).unwrap_err());
        assert_eq!(found, ["b/release/SUP-01.toml: id `SUP-01` is already taken by `a/release/SUP-01.toml`"]);
    }

    #[test]
    fn two_controls_cannot_ask_one_kind_about_different_subjects() {
        let files = [
            ("controls/release/SUP-01.toml".to_owned(), ControlText::new("SUP-01").text()),
            (
                "controls/release/SUP-02.toml".to_owned(),
                ControlText::new("SUP-02").text().replace("subject = \"model\"", "subject = \"dataset\""),
            ),
        ];
        let found = messages(fixture::compile(&files).unwrap_err()).join("\n");
        assert!(found.contains("SUP-02.toml: evidence kind `artifact.scan` is asked about a dataset"), "{found}");
    }

    #[test]
    fn an_overlay_may_add_and_tighten() {
        let base = fixture::catalogue(&[ControlText::new("SUP-01")]);
        let tighter =
            ControlText::new("SUP-01").severity("critical").max_age("{ days = 1 }").with_check("facts.files >= 1");
        let added = ControlText::new("MY-01").severity("low");
        let overlay = base.with_overlay(&[tighter.file(), added.file()]).unwrap();
        assert_eq!(overlay.controls().count(), 2);
        assert_eq!(overlay.control("SUP-01").unwrap().checks.len(), 2);
        assert_eq!(overlay.builtin_control("SUP-01").unwrap().checks.len(), 1);
        assert_ne!(base.canonical_bytes(), overlay.canonical_bytes());
    }

    #[test]
    fn an_overlay_may_not_loosen() {
        let base = fixture::catalogue(&[ControlText::new("SUP-01").applies("served or llm")]);
        for (looser, how) in [
            (ControlText::new("SUP-01").severity("low"), "severity low is below high"),
            (ControlText::new("SUP-01").max_age("{ days = 8 }"), "evidence may be older"),
            (ControlText::new("SUP-01").max_age("{ per = \"release\" }"), "evidence may be older"),
            (
                ControlText::new("SUP-01").pass("facts.files >= 1"),
                "the check `artifact.scan` is missing or asks for something else",
            ),
            (ControlText::new("SUP-01").applies("served"), "applies to fewer systems"),
            (ControlText::new("SUP-01").applies("served and llm"), "applies to fewer systems"),
            (ControlText::new("SUP-01").category("privacy"), "category privacy is not supply-chain"),
        ] {
            let looser = looser.applies_unless_set("served or llm");
            let found = messages(base.with_overlay(&[looser.file()]).unwrap_err()).join("\n");
            assert!(found.contains(how), "{how}: {found}");
        }
        for same_or_wider in ["llm or served", "all", "not (not served and not llm)", "served or llm or rag"] {
            assert!(base.with_overlay(&[ControlText::new("SUP-01").applies(same_or_wider).file()]).is_ok());
        }
    }
}
