//! Facts about the system that its files show. Only presences: what is not seen may still be there.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::context::Project;
use crate::scanning::ScannedFile;

/// A model card is prose; its front matter ends long before this.
const FRONT_MATTER_BYTES_MAX: u64 = 64 << 10;

/// What the tasks of model cards say of a system (the `pipeline_tag` of Hugging Face hubs).
const TASKS: &[(&str, &[&str])] = &[
    ("image-classification", &["image", "classifier"]),
    ("zero-shot-image-classification", &["image", "classifier", "multimodal"]),
    ("object-detection", &["image"]),
    ("image-segmentation", &["image"]),
    ("image-to-text", &["image", "text", "multimodal", "generative"]),
    ("image-text-to-text", &["image", "text", "multimodal", "generative", "llm"]),
    ("visual-question-answering", &["image", "text", "multimodal"]),
    ("text-to-image", &["image", "text", "multimodal", "generative"]),
    ("text-classification", &["text", "classifier"]),
    ("token-classification", &["text", "classifier"]),
    ("zero-shot-classification", &["text", "classifier"]),
    ("question-answering", &["text"]),
    ("summarization", &["text", "generative"]),
    ("translation", &["text", "generative"]),
    ("text-generation", &["text", "generative", "llm"]),
    ("text2text-generation", &["text", "generative", "llm"]),
    ("conversational", &["text", "generative", "llm"]),
    ("feature-extraction", &["text"]),
    ("sentence-similarity", &["text"]),
    ("audio-classification", &["classifier", "continuous-input"]),
    ("tabular-classification", &["classifier"]),
];

/// The facts that scanned files and the configuration show.
pub fn facts<'a>(project: &Project, files: impl Iterator<Item = &'a ScannedFile>) -> BTreeMap<&'static str, bool> {
    let mut facts = BTreeMap::new();
    let mut found = |names: &[&'static str]| facts.extend(names.iter().map(|name| (*name, true)));
    for file in files {
        if file.has_template {
            found(&["llm", "text", "generative"]);
        }
        if file.report.path.ends_with("adapter_config.json") {
            found(&["finetuned", "third-party-base"]);
        }
        let is_card = file.report.path.rsplit('/').next() == Some("README.md");
        if let Some(path) = file.place.as_ref().filter(|_| is_card) {
            card(path).into_iter().for_each(&mut found);
        }
    }
    // Whoever names a base has one; that there is none is never found, only declared.
    if !project.config.bases.is_empty() {
        found(&["third-party-base"]);
    }
    if project.config.datasets.iter().any(|dataset| dataset.label.is_some()) {
        found(&["supervised"]);
    }
    facts
}

/// What the front matter of a model card says. A card that cannot be read says nothing; it was judged as a file already.
fn card(path: &Path) -> Vec<&'static [&'static str]> {
    let Ok(file) = std::fs::File::open(path) else { return Vec::new() };
    front_matter(BufReader::new(file.take(FRONT_MATTER_BYTES_MAX)))
}

fn front_matter(reader: impl BufRead) -> Vec<&'static [&'static str]> {
    let mut lines = reader.lines().map_while(Result::ok);
    if lines.next().as_deref().map(str::trim_end) != Some("---") {
        return Vec::new();
    }
    let mut said: Vec<&'static [&'static str]> = Vec::new();
    for line in lines.take_while(|line| line.trim_end() != "---") {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim().trim_matches(['"', '\'']);
        match key {
            "pipeline_tag" => said.extend(TASKS.iter().find(|(task, _)| *task == value).map(|(_, names)| *names)),
            // A list may follow on the next lines, so an empty value counts.
            "base_model" => said.push(&["third-party-base", "finetuned"]),
            _ => {}
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_says_what_its_front_matter_says_and_no_more() {
        let said = |text: &str| front_matter(text.as_bytes()).concat();
        assert_eq!(said("---\nlicense: mit\npipeline_tag: \"text-generation\"\n---\n"), ["text", "generative", "llm"]);
        assert_eq!(said("---\nbase_model:\n- org/name\n---\n"), ["third-party-base", "finetuned"]);
        assert!(said("# Title\npipeline_tag: text-generation\n").is_empty());
        assert!(said("---\nlicense: mit\n---\npipeline_tag: text-generation\n").is_empty());
        assert!(said("---\npipeline_tag: juggling\n").is_empty());
    }

    #[test]
    fn every_fact_of_a_task_is_one_the_catalogue_knows() {
        for name in TASKS.iter().flat_map(|(_, names)| *names) {
            assert!(casemate_assess::facts::NAMES.contains(name), "{name}");
        }
    }
}
