//! Templates that reach Python objects: the attribute walks of server-side template injection.
//!
//! Chat templates travel in tokenizer configurations, GGUF and safetensors metadata and are rendered with Jinja on the
//! machine that loads the model (CVE-2024-34359). We read tokens, not trees: the lexer is bounded whatever the nesting,
//! and tags unknown to Jinja do not stop it.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection, quote};
use crate::TextKind;
use crate::formats::TEMPLATE_BYTES_MAX;
use crate::template::{BLOCK_TOKENS_MAX, Token, blocks};

/// See the module.
pub struct TemplateInjection;

static META: Meta = Meta {
    id: "template-injection",
    title: "a template reaches for Python objects",
    description: "A template rendered without a sandbox can walk from any value to its class, from there to every loaded \
                  module, and run programs. Chat templates need messages, loops and strings, nothing else.",
    severity: Severity::Critical,
    confidence: Confidence::High,
    controls: &["SUP-01"],
    references: &["CVE-2024-34359", "CWE-1336", "https://jinja.palletsprojects.com/en/stable/sandbox/"],
    remediation: "do not load the tokenizer; take the template from the model's publisher, and render only in a sandbox",
};

impl Detector for TemplateInjection {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        ("tokenizer_config.json", br#"{"chat_template": "{{ ''.__class__ }}"}"#.to_vec())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        let unread = inspection.format == "text"
            && inspection.parsed.texts.is_empty()
            && inspection.parsed.claims.ranges().last().is_some_and(|range| range.end > TEMPLATE_BYTES_MAX);
        if unread && is_template_name(inspection.name()) {
            let message = format!("template is longer than {TEMPLATE_BYTES_MAX} bytes and was not judged");
            found.add(META.finding_at(Severity::High, message, inspection.at(0)));
        }
        for text in inspection.parsed.texts.iter().filter(|text| text.kind == TextKind::Template) {
            let Some((severity, what)) = judge(&text.text) else { continue };
            // A page that talks about templates is not one; what is named like a template is.
            let prose = inspection.format == "text" && !is_template_name(inspection.name());
            let (severity, subject) = if prose { (Severity::Low, "text") } else { (severity, "template") };
            let message = format!("{subject} {} {what}", quote(&text.key));
            found.add(META.finding_at(severity, message, inspection.at(text.offset)));
        }
    }
}

fn is_template_name(name: &str) -> bool {
    let name = name.to_lowercase();
    TEMPLATE_EXTENSIONS.iter().any(|end| name.ends_with(end))
}

/// Extensions of text files that are templates.
const TEMPLATE_EXTENSIONS: &[&str] = &[".jinja", ".jinja2", ".j2", ".tmpl", ".template"];

/// Attributes that lead out of the sandbox without double underscores.
const FRAMES: &[&str] = &[
    "gi_frame",
    "gi_code",
    "cr_frame",
    "ag_frame",
    "f_globals",
    "f_locals",
    "f_builtins",
    "func_globals",
    "im_func",
    "tb_frame",
];

/// Called as a method, these run programs, import or open.
const RUNS: &[&str] =
    &["popen", "system", "subprocess", "check_output", "import_module", "mro", "subclasses", "exec", "eval"];

/// The worst thing a template does, and in which words.
fn judge(template: &str) -> Option<(Severity, String)> {
    blocks(template).filter_map(|tokens| judge_block(&tokens)).max_by_key(|(severity, _)| *severity)
}

/// The worst thing one expression or statement does.
fn judge_block(tokens: &[Token]) -> Option<(Severity, String)> {
    let objections = tokens.iter().enumerate().filter_map(|(i, token)| {
        let before = i.checked_sub(1).and_then(|i| tokens.get(i));
        let after = tokens.get(i + 1);
        objection(token, before, after)
    });
    let built = built_name(tokens).map(|name| (Severity::Critical, format!("puts together the name {}", quote(&name))));
    let long = (tokens.len() >= BLOCK_TOKENS_MAX).then(|| {
        (Severity::High, format!("has an expression of more than {BLOCK_TOKENS_MAX} words, not read to its end"))
    });
    objections.chain(built).chain(long).max_by_key(|(severity, _)| *severity)
}

fn objection(token: &Token, before: Option<&Token>, after: Option<&Token>) -> Option<(Severity, String)> {
    let opens_call = after == Some(&Token::Sign('('));
    let is_attribute = before == Some(&Token::Sign('.'));
    let is_filter = before == Some(&Token::Sign('|'));
    match token {
        Token::Name(name) if is_dunder(name) || FRAMES.contains(&name.as_str()) => {
            Some((Severity::Critical, format!("walks to Python internals through {}", quote(name))))
        }
        Token::Text(text) if is_dunder(text) || FRAMES.contains(&text.as_str()) => {
            Some((Severity::Critical, format!("walks to Python internals through the text {}", quote(text))))
        }
        Token::Name(name) if is_attribute && opens_call && RUNS.contains(&name.as_str()) => {
            Some((Severity::Critical, format!("calls {}", quote(name))))
        }
        Token::Name(name) if is_filter && name == "attr" => {
            Some((Severity::High, "takes attributes by computed name (`attr`)".into()))
        }
        Token::Tag(name) if matches!(name.as_str(), "import" | "include" | "extends" | "from") => {
            Some((Severity::High, format!("reads other files (`{name}`)")))
        }
        Token::Text(text)
            if after.is_some_and(|after| matches!(after, Token::Sign('|' | '%'))) && text.contains("%c") =>
        {
            Some((Severity::High, "builds text from character codes".into()))
        }
        _ => None,
    }
}

fn is_dunder(name: &str) -> bool {
    name.len() > 4 && name.starts_with("__") && name.ends_with("__")
}

/// A double-underscore name glued from literals: by `~` or `+`, side by side, or as a list to be joined.
fn built_name(tokens: &[Token]) -> Option<String> {
    let mut glued = String::new();
    let mut pieces = 0;
    for token in tokens {
        match token {
            Token::Text(text) => {
                glued.push_str(text);
                pieces += 1;
            }
            Token::Sign('~' | '+' | ',') => {}
            _ => {
                glued.clear();
                pieces = 0;
            }
        }
        if pieces > 1 && is_dunder(&glued) {
            return Some(glued);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_to_python_objects_are_seen_however_they_are_spelled() {
        for bad in [
            "{{ ''.__class__.__mro__ }}",
            "{{ cycler.__init__.__globals__.os.popen('x').read() }}",
            "{% for c in [].__class__.__base__.__subclasses__() %}{% endfor %}",
            "{{ x['__class__'] }}",
            r"{{ x['\x5f\x5fclass\x5f\x5f'] }}",
            "{{ x|attr('__cl' ~ 'ass__') }}",
            r"{{ x['\N{LOW LINE}_class_\N{low line}'] }}",
            "{{ x['_\\\n_class__'] }}",
            "{{ x['__cl' + 'ass__'] }}",
            "{{ ['__','class','__']|join }}",
            "{{ x|attr(name) }}",
            "{% include 'other' %}",
            "{% set g = (f() for f in x).gi_frame %}",
            "{{ '%c%c' % (95, 95) }}",
            "{%- if x -%}{{- namespace.__init__ -}}",
            "{# harmless #}{{ x.os.popen(y) }}",
        ] {
            assert!(judge(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn ordinary_chat_templates_are_clean() {
        for good in [
            "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>' }}{% endfor %}",
            "{%- set ns = namespace(found=false) -%}{% if not add_generation_prompt is defined %}{% set x = '__' %}{% endif %}",
            "{% generation %}{{ message.content | trim }}{% endgeneration %}",
            "{{ raise_exception('roles must alternate: __user__ first') }}",
            "text that mentions {{ and __class__ outside of an expression",
            "{{ bos_token }}{{ tools | tojson(indent=4) }}{{ messages[0].content.split('</think>')[-1].lstrip('\\n') }}",
        ] {
            assert_eq!(judge(good), None, "{good}");
        }
    }
}
