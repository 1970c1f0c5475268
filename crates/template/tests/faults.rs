//! What is wrong with a template is told by code, line and mark, and all of it at once.
//!
//! The cases stand in faults/cases.txt, as changes to a template that is sound.

use model::ids::VariableName;
use model::instance::TemplateFiles;
use model::secret::Secret;
use template::{Document, Problem, Problems, Severity, lint};

const SOUND: &str = include_str!("faults/template.yaml");
const CASES: &str = include_str!("faults/cases.txt");
const CONFIG: &str = "port 6379\nmasterauth {{ quote .PASSWORD }}\nmaxmemory {{ .SHARDS }}\n";

fn folder(template: &str, config: &str) -> TemplateFiles {
    TemplateFiles {
        files: [("template.yaml", template), ("redis.conf", config)]
            .map(|(path, text)| (path.to_owned(), text.to_owned()))
            .into(),
    }
}

/// A problem as `code line «what is marked» message`, with the file where it is another one.
fn told(problem: &Problem) -> String {
    let place = problem.place.as_ref().map_or(String::new(), |place| {
        let line = place.text.as_deref().unwrap_or("").chars();
        let marked: String = line.skip(place.text_offset).take(place.length).collect();
        format!(" {}:{} «{marked}»", place.file, place.line)
    });
    format!("{}{place} {}", problem.code, problem.message).replace(" template.yaml:", " ")
}

fn all_told(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(told).collect()
}

/// A case: the template that it makes of the sound one, and what is told of that.
fn read_case(case: &str) -> (String, Vec<String>) {
    let mut template = SOUND.to_owned();
    let mut expected = Vec::new();
    let (mut old, mut new) = (String::new(), String::new());
    let mut replace = |old: &mut String, new: &mut String| {
        assert!(
            template.contains(old.as_str()),
            "not in the template: {old}"
        );
        template = template.replacen(old.as_str(), new, 1);
        old.clear();
        new.clear();
    };
    for line in case.lines() {
        match line.split_at(1) {
            ("-", rest) => {
                if !new.is_empty() {
                    replace(&mut old, &mut new);
                }
                old += &format!("{rest}\n");
            }
            ("+", rest) => new += &format!("{rest}\n"),
            (_, rest) => expected.push(rest.trim_start().to_owned()),
        }
    }
    replace(&mut old, &mut new);
    (template, expected)
}

#[test]
fn every_case_is_told_as_it_is_written_down() {
    let cases: Vec<&str> = CASES
        .split("\n\n")
        .filter(|block| block.starts_with('-'))
        .collect();
    assert!(cases.len() > 90);
    let mut wrong = Vec::new();
    for case in cases {
        let (template, expected) = read_case(case);
        let problems = Document::read(&folder(&template, CONFIG)).err();
        let given: Vec<String> = problems
            .map(Problems::into_vec)
            .unwrap_or_default()
            .iter()
            .flat_map(|problem| {
                let help = problem.help.iter().map(|help| format!("help: {help}"));
                std::iter::once(told(problem)).chain(help)
            })
            .collect();
        if given.is_empty() || given != expected {
            let given = given.join("\n  ");
            wrong.push(format!("{case}\n  in truth:\n  {given}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_sound_template_is_sound() {
    assert_eq!(all_told(&lint(&folder(SOUND, CONFIG))), [""; 0]);
}

#[test]
fn a_folder_without_a_template_is_told() {
    let problems = Document::read(&TemplateFiles::default()).unwrap_err();
    assert_eq!(
        all_told(problems.all()),
        ["SY1004 the template's folder has no file template.yaml"]
    );
}

#[test]
fn the_whole_of_the_data_holds_no_secret_in_the_template_itself() {
    let files = folder(&SOUND.replace("TZ: UTC", "TZ: \"{{ toJson . }}\""), CONFIG);
    assert_eq!(all_told(&lint(&files)), [""; 0]);
    let document = Document::read(&files).unwrap();
    let given = [(VariableName::new("PASSWORD").unwrap(), "hunter2".to_owned())].into();
    let mut generate = |_| Secret::new("unused");
    let values = document.values(&given, &mut generate).unwrap();
    let spec = document.spec(&values).unwrap();
    let environment = &spec.services[0].container.environment;
    assert_eq!(environment["TZ"], "{\"SHARDS\":3}");
    assert!(!format!("{spec:?}").contains("hunter2"));
}

#[test]
fn the_linter_looks_into_every_file_and_every_branch() {
    for (config, expected) in [
        (
            "a {{ .SHARD }}\n",
            "SY1032 redis.conf:1 «.SHARD» the template has no variable SHARD",
        ),
        (
            "{{ .PASSWORD }}{{ if gt .SHARDS 9 }}\n{{ div 1 (sub .SHARDS 10) }}{{ end }}",
            "SY1034 redis.conf:2 «div 1 (sub .SHARDS 10)» with SHARDS = 10: \
             div: the divisor is zero",
        ),
        (
            "{{ .PASSWORD }} {{ if eq (self).Index 5 }}{{ (service \"rediss\").Name }}{{ end }}",
            "SY1032 redis.conf:1 «(service \"rediss\")» service: \
             the template has no service of this name",
        ),
        (
            "{{ .PASSWORD }} {{ if .SHARDS }}",
            "SY1031 redis.conf:1 «{{ if .SHARDS }}» `if` is not closed",
        ),
    ] {
        assert_eq!(all_told(&lint(&folder(SOUND, config))), [expected]);
    }
    let template = SOUND.replace(
        "  - {name: PASSWORD",
        "  - {name: TRACE, type: bool, default: no}\n  - {name: PASSWORD",
    );
    let config = "{{ .PASSWORD }}{{ .SHARDS }}{{ if .TRACE }}{{ .TRACK }}{{ end }}";
    assert_eq!(
        all_told(&lint(&folder(&template, config))),
        ["SY1032 redis.conf:1 «.TRACK» with TRACE = yes: the template has no variable TRACK"]
    );
}

#[test]
fn a_variable_that_nothing_uses_is_noticed() {
    let spare = "  - {name: SPARE, type: bool, default: no}\n  - {name: PASSWORD";
    let files = folder(&SOUND.replace("  - {name: PASSWORD", spare), CONFIG);
    assert!(Document::read(&files).is_ok());
    let problems = lint(&files);
    assert_eq!(
        all_told(&problems),
        ["SY1013 7 «SPARE» the variable SPARE is not used"]
    );
    assert_eq!(problems[0].severity, Severity::Notice);
}
