//! Whether a model's container image is signed, as far as this build can tell: there is none, or nobody knows.
//!
//! A declaration that there is no image counts only beside a search of the project that saw everything and found none.

use super::ModelProbe;
use crate::config::Container;
use crate::walk::walk;

/// Names of files that build or describe container images, whole or by their beginning or end.
const NAMES: [&str; 9] = [
    "dockerfile",
    "containerfile",
    "docker-compose.yml",
    "docker-compose.yaml",
    "compose.yml",
    "compose.yaml",
    "oci-layout",
    "cog.yaml",
    "bentofile.yaml",
];
const BEGINNINGS: [&str; 3] = ["dockerfile.", "containerfile.", "docker-compose."];
const ENDINGS: [&str; 2] = [".dockerfile", ".containerfile"];

/// `Ok` where there is no image to sign; else why nothing can be told.
pub fn image_signed(probe: &ModelProbe<'_>) -> Result<(), String> {
    let declared = probe.model.declared.as_ref().and_then(|declared| declared.container);
    if declared != Some(Container::None) {
        return Err(format!(
            "nothing is known about a container image: this build verifies no signatures of images; if model `{}` is shipped in none, \
             say `container = \"none\"` in its `[[model]]`",
            probe.model.name
        ));
    }
    let walked = walk(".", &probe.project.project.root);
    if let Some(skipped) = walked.skipped.iter().find(|skipped| skipped.matters) {
        return Err(format!(
            "`container = \"none\"`, but `{}` could not be looked at: {}",
            skipped.path, skipped.reason
        ));
    }
    match walked.files.iter().map(|(shown, _)| shown).find(|shown| describes_image(shown)) {
        Some(found) => Err(format!(
            "`container = \"none\"`, but `{found}` describes a container image, and this build verifies no signatures of images"
        )),
        None => Ok(()),
    }
}

fn describes_image(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_lowercase();
    NAMES.contains(&name.as_str())
        || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
        || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_images_are_told_by_their_names() {
        for image in
            ["Dockerfile", "a/b/dockerfile.gpu", "serve.Dockerfile", "compose.yaml", "x/oci-layout", "Containerfile"]
        {
            assert!(describes_image(image), "{image}");
        }
        for other in ["docker.md", "src/dockerfile_parser.py", "compose.py", "model/config.json"] {
            assert!(!describes_image(other), "{other}");
        }
    }
}
