//! The stable codes of everything that can be wrong with a template or with what it is given.
//!
//! Each code has a page of its own in docs/errors; a test holds the two together. A code is never
//! given a second meaning: one that is no longer used stays retired.

use model::fault::Code;

macro_rules! codes {
    ($($name:ident = $code:literal, $title:literal;)*) => {
        $(
            #[doc = $title]
            pub(crate) const $name: Code = Code($code);
        )*

        /// Every code of this crate with what it stands for, for the documentation.
        pub const CODES: &[(Code, &str)] = &[$(($name, $title),)*];
    };
}

codes! {
    YAML_SYNTAX = "SY1001", "the text is not YAML, or uses a part of YAML that is not taken";
    TOO_MUCH = "SY1002", "a file is too large, too deep or holds too many values";
    DUPLICATE_KEY = "SY1003", "a key stands twice in one mapping";
    FILE_MISSING = "SY1004", "a file is not in the template's folder";
    UNKNOWN_FIELD = "SY1005", "a field is not known";
    MISSING_FIELD = "SY1006", "a field is missing";
    WRONG_TYPE = "SY1007", "a value is not of the expected type";
    OUT_OF_RANGE = "SY1008", "a number in the template is too small or too large";
    OTHER_FORMAT = "SY1009", "the document is of another format or version";
    BAD_NAME = "SY1010", "a text is not a name";
    DUPLICATE_NAME = "SY1011", "a name is given twice";
    CONTRADICTION = "SY1012", "a declaration contradicts itself";
    UNUSED_VARIABLE = "SY1013", "a variable is declared and never used";
    UNKNOWN_VARIABLE = "SY1021", "the template has no variable of this name";
    UNFIT_VALUE = "SY1022", "a variable's value is not of its type";
    VALUE_OUT_OF_BOUNDS = "SY1023", "a variable's value is outside of what the template allows";
    CONTROL_CHARACTER = "SY1024", "a value holds a line break or a control character";
    NO_VALUE = "SY1025", "a variable has no value";
    TEMPLATE_SYNTAX = "SY1031", "a text is not a Go template";
    UNKNOWN_NAME = "SY1032", "a template uses a name that does not exist";
    UNKNOWN_FUNCTION = "SY1033", "a template calls a function that does not exist";
    CALL_FAILED = "SY1034", "a part of a template cannot be computed";
    OVER_LIMIT = "SY1035", "rendering a template takes too much";
    TOO_EARLY = "SY1036", "template.yaml asks for addresses, which are decided later";
    NOTHING_RENDERED = "SY1037", "a rendered file would hold a value that is not there";
    PATH_CLIMBS_OUT = "SY1041", "a path leads out of the template's folder";
    BAD_TARGET = "SY1042", "a place in the workload is not a plain absolute path";
    EXPOSED_SECRET = "SY1043", "a secret is used where others can read it";
    START_ORDER = "SY1044", "the start order contradicts itself";
    DANGLING_REFERENCE = "SY1045", "a name refers to something that is not there";
    UNFIT_JOB = "SY1046", "a job has a part that only a service can have";
    UNFIT_CLUSTER = "SY1047", "a cluster's service lacks what a cluster needs";
    HOST_ACCESS = "SY1048", "a workload asks for power over its host";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the test compares the table with the pages in the repository"
    )]
    fn each_code_has_a_page_that_begins_with_its_title() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors");
        for (code, title) in CODES {
            let page = std::fs::read_to_string(format!("{folder}/{code}.md")).unwrap_or_default();
            assert!(
                page.starts_with(&format!("# {code}: {title}\n")),
                "{code}.md"
            );
        }
    }

    #[test]
    fn no_code_stands_for_two_things() {
        assert!(CODES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
