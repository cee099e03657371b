//! What every format owes its readers, on reports of both shapes.

use casemate_assess::State;
use casemate_core::Severity;
use serde_json::Value;

use super::fixture::{self, HOSTILE, RULE};
use super::{REPORT_SCHEMA, Style, is_hostile, render};
use crate::cli::Format;
use crate::report::Report;

const FORMATS: [Format; 9] = [
    Format::Text,
    Format::Json,
    Format::Markdown,
    Format::Html,
    Format::Sarif,
    Format::Csv,
    Format::Badge,
    Format::Junit,
    Format::Github,
];

/// What shows single files to a pipeline, and the gate instead of the score.
const PIPELINE: [Format; 2] = [Format::Junit, Format::Github];

fn written(report: &Report, format: Format) -> String {
    render(report, format, Style { color: false, width: 100 }, &[&RULE])
}

fn parsed(report: &Report, format: Format) -> Value {
    serde_json::from_str(&written(report, format)).unwrap()
}

fn failing(report: &Report) -> Vec<String> {
    let posture = report.posture.as_ref().unwrap();
    let failing = posture.controls.iter().filter(|control| control.state == State::Fail);
    failing.map(|control| control.id.clone()).collect()
}

#[test]
fn every_format_says_the_score_and_names_every_failing_control() {
    let report = fixture::check();
    let failing = failing(&report);
    assert!(failing.len() >= 2, "{failing:?}");
    for format in FORMATS.into_iter().filter(|format| !PIPELINE.contains(format)) {
        let text = written(&report, format);
        assert!(text.contains("17"), "{format:?}");
        // A badge holds the number of failing controls, not their names.
        let named = failing.iter().all(|id| text.contains(id.as_str()));
        assert!(named || format == Format::Badge, "{format:?}");
    }
    assert!(written(&report, Format::Text).contains("Score 17 / 100"));
    assert!(written(&report, Format::Badge).contains(">17/100<"));
    assert_eq!(parsed(&report, Format::Json)["score"]["value"], 17);
    assert_eq!(parsed(&report, Format::Sarif)["runs"][0]["properties"]["casemate/score"]["value"], 17);
}

#[test]
fn more_failing_controls_than_fit_are_still_named() {
    let mut report = fixture::check();
    for control in &mut report.posture.as_mut().unwrap().controls {
        control.state = State::Fail;
    }
    for format in [Format::Text, Format::Markdown, Format::Html, Format::Sarif, Format::Csv] {
        let text = written(&report, format);
        for id in failing(&report) {
            assert!(text.contains(&id), "{format:?} {id}");
        }
    }
}

#[test]
fn a_scan_names_every_file_verdict_and_rule() {
    let report = fixture::scan();
    for format in [Format::Text, Format::Json, Format::Markdown, Format::Html, Format::Csv] {
        let text = written(&report, format).replace("\\_", "_");
        for file in &report.artifacts {
            assert!(text.contains(&file.path) && text.contains(file.verdict.as_str()), "{format:?} {}", file.path);
        }
        for finding in &report.findings {
            assert!(text.contains(&finding.rule), "{format:?} {}", finding.rule);
        }
    }
    assert!(written(&report, Format::Badge).contains(">malicious<"));
}

#[test]
fn a_pipeline_sees_every_file_that_fails_and_every_requirement_the_gate_misses() {
    let report = fixture::scan();
    for (format, names) in [(Format::Junit, "models/résumé/model.pt"), (Format::Github, "file=models/résumé/model.pt")]
    {
        let text = written(&report, format);
        assert!(text.contains(names) && text.contains("models/locked.zip"), "{text}");
    }
    let report = fixture::check();
    let gate = report.posture.as_ref().unwrap().gate.clone().unwrap();
    let missed = gate.requirements.iter().filter(|requirement| {
        matches!(requirement.status, casemate_assess::gate::Status::Failed | casemate_assess::gate::Status::Unknown)
    });
    let missed: Vec<&str> = missed.map(|requirement| requirement.name.as_str()).collect();
    assert!(!missed.is_empty());
    for format in PIPELINE {
        let text = written(&report, format);
        assert!(missed.iter().all(|name| text.contains(name)), "{format:?} {missed:?} {text}");
    }
}

#[test]
fn the_same_report_gives_the_same_bytes() {
    for format in FORMATS {
        assert_eq!(written(&fixture::check(), format), written(&fixture::check(), format));
        assert_eq!(written(&fixture::scan(), format), written(&fixture::scan(), format));
    }
}

#[test]
fn an_empty_report_is_told_in_every_format_and_never_as_clean() {
    let mut report = fixture::scan();
    report.artifacts.clear();
    report.findings.clear();
    for format in FORMATS {
        assert!(!written(&report, format).is_empty(), "{format:?}");
    }
    assert!(written(&report, Format::Text).contains("nothing was scanned"));
    assert!(!written(&report, Format::Text).contains("clean"));
}

#[test]
fn no_format_lets_a_hostile_character_through() {
    for report in [fixture::poisoned(fixture::check()), fixture::poisoned(fixture::scan())] {
        for format in FORMATS {
            let text = written(&report, format);
            let line_end = |char| char == '\n' || (char == '\r' && format == Format::Csv);
            let hostile: Vec<char> = text.chars().filter(|char| is_hostile(*char) && !line_end(*char)).collect();
            assert!(hostile.is_empty(), "{format:?}: {hostile:?}");
        }
    }
}

#[test]
fn hostile_markup_cannot_break_out_of_a_page_or_a_comment() {
    for report in [fixture::poisoned(fixture::check()), fixture::poisoned(fixture::scan())] {
        for format in [Format::Html, Format::Markdown, Format::Badge] {
            let text = written(&report, format);
            assert!(!text.contains("<script") && !text.contains("<img"), "{format:?}");
        }
        let markdown = written(&report, Format::Markdown);
        assert!(!markdown.contains("@team") && !markdown.replace("\\]", "").contains("]("));
        // Every row of a table has as many columns as the table: no pipe got through.
        let mut columns = 0;
        for line in markdown.lines() {
            let pipes = line.replace("\\|", "").matches('|').count();
            if line.starts_with('|') && columns > 0 {
                assert_eq!(pipes, columns, "{line}");
            }
            columns = if line.starts_with('|') { pipes } else { 0 };
        }
    }
}

#[test]
fn a_page_loads_and_runs_nothing() {
    for report in [fixture::check(), fixture::scan()] {
        let page = written(&report, Format::Html);
        for forbidden in ["<script", "<link", "<iframe", "<img", "javascript:", " style=", "@import", "url("] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        assert!(page.contains("default-src &#39;none&#39;") || page.contains("default-src 'none'"));
        for needed in ["<html lang=\"en\">", "<title>", "<main", "<nav", "<caption>", "scope=\"col\"", "</html>"] {
            assert!(page.contains(needed), "{needed}");
        }
        assert_eq!(page.matches("<h1").count(), 1);
        let ids: Vec<&str> = page.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        let unique: std::collections::BTreeSet<&&str> = ids.iter().collect();
        assert_eq!(ids.len(), unique.len(), "an id stands twice");
        for target in page.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(ids.contains(&target), "{target}");
        }
    }
}

#[test]
fn no_cell_of_a_csv_is_a_formula_and_every_row_is_whole() {
    for report in [fixture::poisoned(fixture::check()), fixture::poisoned(fixture::scan())] {
        let text = written(&report, Format::Csv);
        let rows: Vec<Vec<String>> = text.split_terminator("\r\n").map(cells).collect();
        for row in &rows {
            assert_eq!(row.len(), rows[0].len(), "{row:?}");
            assert!(!row.iter().any(|cell| cell.starts_with(['=', '+', '-', '@', '\t'])), "{row:?}");
        }
    }
}

/// The cells of one row (RFC 4180).
fn cells(row: &str) -> Vec<String> {
    let (mut cells, mut quoted) = (vec![String::new()], false);
    for char in row.chars() {
        match char {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            char => cells.last_mut().unwrap().push(char),
        }
    }
    assert!(!quoted, "{row}");
    cells
}

#[test]
fn text_fits_its_width_and_colour_adds_nothing_but_colour() {
    for report in [fixture::check(), fixture::scan(), fixture::poisoned(fixture::check())] {
        for width in [40, 60, 80, 100, 500] {
            let plain = render(&report, Format::Text, Style { color: false, width }, &[&RULE]);
            for line in plain.lines() {
                assert!(line.chars().count() <= width.min(100), "{width}: {line}");
            }
            let painted = render(&report, Format::Text, Style { color: true, width }, &[&RULE]);
            let stripped: String = painted
                .split("\u{1b}[")
                .enumerate()
                .map(|(n, part)| if n == 0 { part } else { part.split_once('m').unwrap().1 })
                .collect();
            assert_eq!(stripped, plain);
        }
    }
}

#[test]
fn json_follows_its_schema_and_the_schema_is_strict() {
    let schema: Value = serde_json::from_str(REPORT_SCHEMA).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let mut cut = fixture::scan();
    cut.artifacts[0].findings_left_out = 7;
    for report in [fixture::check(), fixture::scan(), fixture::clean_scan(), cut, fixture::poisoned(fixture::check())] {
        let errors: Vec<String> = validator
            .iter_errors(&parsed(&report, Format::Json))
            .map(|error| format!("{} {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
    let good = parsed(&fixture::check(), Format::Json);
    for (pointer, key) in [("", "extra"), ("/score", "extra"), ("/findings/0", "extra"), ("/controls/0", "extra")] {
        let mut bad = good.clone();
        bad.pointer_mut(pointer).unwrap()[key] = 1.into();
        assert!(!validator.is_valid(&bad), "{pointer}");
    }
    let mut half = good;
    half.as_object_mut().unwrap().remove("controls");
    assert!(!validator.is_valid(&half), "half a posture is none");
}

#[test]
fn json_keeps_hostile_strings_as_values() {
    let report = fixture::poisoned(fixture::scan());
    let json = parsed(&report, Format::Json);
    let paths: Vec<&str> =
        json["artifacts"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert!(HOSTILE.iter().all(|text| paths.contains(text)));
}

#[test]
fn sarif_has_what_github_asks_for() {
    for report in [fixture::check(), fixture::scan(), fixture::poisoned(fixture::check()), fixture::clean_scan()] {
        let log = parsed(&report, Format::Sarif);
        assert_eq!(log["version"], "2.1.0");
        assert!(log["$schema"].as_str().unwrap().ends_with("sarif-schema-2.1.0.json"));
        let run = &log["runs"][0];
        assert_eq!(run["tool"]["driver"]["name"], "casemate");
        assert!(run["automationDetails"]["id"].as_str().unwrap().starts_with("casemate/"));
        assert!(run["automationDetails"]["id"].as_str().unwrap().ends_with('/'));
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        for rule in rules {
            for pointer in ["/id", "/shortDescription/text", "/fullDescription/text", "/help/text"] {
                assert!(!rule.pointer(pointer).unwrap().as_str().unwrap().is_empty(), "{pointer}");
            }
            let tags = rule["properties"]["tags"].as_array().unwrap();
            let unique: std::collections::BTreeSet<&str> = tags.iter().map(|tag| tag.as_str().unwrap()).collect();
            assert!(tags.len() <= 20 && unique.len() == tags.len(), "{tags:?}");
            if let Some(severity) = rule["properties"]["security-severity"].as_str() {
                assert!((0.1..=10.0).contains(&severity.parse::<f64>().unwrap()));
            }
        }
        let mut fingerprints = std::collections::BTreeSet::new();
        for result in run["results"].as_array().unwrap() {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(rules[index]["id"], result["ruleId"]);
            assert!(!result["message"]["text"].as_str().unwrap().is_empty());
            let place = &result["locations"][0]["physicalLocation"];
            assert!(place["region"]["startLine"].as_u64().unwrap() >= 1);
            let uri = place["artifactLocation"]["uri"].as_str().unwrap();
            assert!(!uri.starts_with('/') && !uri.contains("..") && !uri.contains(':') && uri.is_ascii(), "{uri}");
            let print = result["partialFingerprints"]["primaryLocationLineHash"].as_str().unwrap();
            assert!(fingerprints.insert(print.to_owned()), "two results share {print}");
        }
    }
}

#[test]
fn sarif_tells_what_could_not_be_judged_and_what_is_waived() {
    let log = parsed(&fixture::check(), Format::Sarif);
    let notes = log["runs"][0]["invocations"][0]["toolExecutionNotifications"].as_array().unwrap();
    assert!(notes.iter().any(|note| note["message"]["text"].as_str().unwrap().starts_with("models/locked.zip")));
    let results = log["runs"][0]["results"].as_array().unwrap();
    let waived: Vec<&Value> = results.iter().filter(|result| result["properties"]["state"] == "waived").collect();
    assert_eq!(waived.len(), 2);
    assert!(waived.iter().all(|result| result["suppressions"][0]["status"] == "accepted"));
    let member = results.iter().find(|result| result["ruleId"] == "pickle-unsafe-global").unwrap();
    assert_eq!(member["locations"][0]["logicalLocations"][0]["name"], "data.pkl");
    let uri = member["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap();
    assert_eq!(uri, "models/r%C3%A9sum%C3%A9/model.pt");
}

#[test]
fn a_fingerprint_survives_saving_again_and_another_checkout() {
    let prints = |report: &Report| -> Vec<String> {
        let log = parsed(report, Format::Sarif);
        let results = log["runs"][0]["results"].as_array().unwrap().clone();
        results.iter().map(|result| result["partialFingerprints"].to_string()).collect()
    };
    let report = fixture::scan();
    let mut again = report.clone();
    for finding in again.findings.iter_mut().chain(again.artifacts.iter_mut().flat_map(|file| &mut file.findings)) {
        finding.location.offset = Some(99_999);
        finding.message = finding.message.replace("1024..4096", "2048..8192");
        finding.location.path = format!("./{}", finding.location.path);
    }
    assert_eq!(prints(&report), prints(&again));
    let machine = |text: String| text.contains("/home/") || text.contains("ada");
    let mut absolute = report;
    for finding in absolute.findings.iter_mut().chain(absolute.artifacts.iter_mut().flat_map(|file| &mut file.findings))
    {
        finding.location.path = format!("/home/ada/{}", finding.location.path);
    }
    assert!(!machine(written(&absolute, Format::Sarif).replace("metadata", "")));
}

#[test]
fn too_many_results_are_cut_with_a_word() {
    let mut report = fixture::scan();
    let many = (0..25_010).map(|n| {
        fixture::finding("bytes-unclaimed", Severity::Low, &format!("m/{n}.bin"), None, "bytes that belong to nothing")
    });
    report.findings.extend(many);
    let log = parsed(&report, Format::Sarif);
    assert_eq!(log["runs"][0]["results"].as_array().unwrap().len(), 25_000);
    assert_eq!(log["runs"][0]["results"][0]["properties"]["severity"], "critical");
    let notes = log["runs"][0]["invocations"][0]["toolExecutionNotifications"].to_string();
    assert!(notes.contains("14 results were left out"), "{notes}");
    assert!(written(&report, Format::Text).contains("25000 more places"));
}

#[test]
fn badges_and_pages_are_well_formed() {
    for report in [fixture::poisoned(fixture::check()), fixture::poisoned(fixture::scan())] {
        for format in [Format::Badge, Format::Html] {
            let text = written(&report, format);
            for tag in ["svg", "title", "section", "table", "tr", "td", "details", "ul", "li", "p", "div", "span"] {
                let opened = text.matches(&format!("<{tag} ")).count() + text.matches(&format!("<{tag}>")).count();
                assert_eq!(opened, text.matches(&format!("</{tag}>")).count(), "{format:?} {tag}");
            }
        }
    }
}

#[test]
fn a_remark_on_a_clean_file_is_not_passed_over() {
    let mut report = fixture::clean_scan();
    assert!(written(&report, Format::Text).contains("nothing speaks against"));
    report.findings =
        vec![fixture::finding("extension-mismatch", Severity::Low, "models/a.onnx", None, "named `.onnx`")];
    report.artifacts[0].findings = report.findings.clone();
    let text = written(&report, Format::Text);
    assert!(text.contains("extension-mismatch") && !text.contains("nothing speaks against"), "{text}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn any_name_and_message_stay_inside_their_place(path in "\\PC*", message in proptest::prelude::any::<String>()) {
        let mut report = fixture::clean_scan();
        report.findings = vec![fixture::finding("any-rule", Severity::High, &path, Some(&message), &message)];
        for format in FORMATS {
            let text = written(&report, format);
            let line_end = |char| char == '\n' || (char == '\r' && format == Format::Csv);
            proptest::prop_assert!(!text.chars().any(|char| is_hostile(char) && !line_end(char)), "{:?}", format);
        }
        let json = parsed(&report, Format::Json);
        proptest::prop_assert_eq!(json["findings"][0]["location"]["path"].as_str(), Some(path.as_str()));
        proptest::prop_assert_eq!(json["findings"][0]["message"].as_str(), Some(message.as_str()));
        let csv = written(&report, Format::Csv);
        let rows: Vec<usize> = csv.split_terminator("\r\n").map(|row| cells(row).len()).collect();
        proptest::prop_assert!(rows.iter().all(|columns| *columns == rows[0]));
        parsed(&report, Format::Sarif);
    }
}
