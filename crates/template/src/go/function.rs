//! Our functions in one table: what they are called, what they do, and an example of each that a
//! test keeps true. Documentation is made from this table, never written beside it.

use gtmpl_ng::{Func, FuncError, Value};

use super::engine::fail;
use super::{arithmetic, lookup, text};
use crate::code;

/// A function that templates can call beside Go's own.
#[derive(Clone, Copy)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// How it is called.
    pub usage: &'static str,
    /// What it gives.
    pub summary: &'static str,
    /// An example.
    pub example: &'static str,
    /// What the example gives.
    pub result: &'static str,
    pub(super) call: Func,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Function")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

macro_rules! functions {
    ($(
        $name:literal, $usage:literal, $call:path,
        $summary:literal, $example:literal => $result:literal;
    )*) => {
        /// Every function of ours, in the order of the documentation. The order of arguments is
        /// that of Sprig and Helm: what is worked on comes last, so that it can be piped in.
        pub const FUNCTIONS: [Function; [$($name),*].len()] = [$(Function {
            name: $name,
            usage: $usage,
            summary: $summary,
            example: $example,
            result: $result,
            call: $call,
        }),*];
    };
}

functions! {
    "service", "service NAME", lookup::service,
        "the service of this name: .Name and .Containers, each with .Name .IPAddr .Hostname .Port \
         .Index (from 0) .Memory (bytes; 0 for no limit) .Host.Name .Host.IPAddr",
        "{{ range (service \"redis\").Containers }}{{ .IPAddr }}:{{ .Port }} {{ end }}"
            => "10.0.0.2:6379 10.0.0.3:6379 ";
    "services", "services", lookup::services,
        "every service and job of the template, by name, as `service` gives one",
        "{{ range services }}{{ .Name }}={{ len .Containers }} {{ end }}" => "init=1 redis=2 ";
    "self", "self", lookup::own,
        "the container whose file this is, with the fields of those of `service`",
        "{{ (self).Name }} on {{ (self).Host.Name }}" => "redis-1 on host-a";
    "bytes", "bytes SIZE", text::bytes,
        "a number of bytes from a size such as 256MiB or 1gb, with the units of redis.conf",
        "{{ bytes \"1gb\" }}" => "1073741824";
    "size", "size BYTES", text::size,
        "a number of bytes as redis.conf writes it, exactly",
        "{{ size 268435456 }}" => "256mb";
    "maxmemory", "maxmemory BYTES", text::maxmemory,
        "of a workload's memory limit, the bytes that its server may use for data: the limit less \
         what a fork copies, the replication backlog, the buffers of replicas, and a margin",
        "{{ maxmemory 268435456 | size }}" => "160mb";
    "add", "add NUMBER...", arithmetic::add,
        "the sum of whole numbers", "{{ add 1 2 3 }}" => "6";
    "sub", "sub NUMBER NUMBER", arithmetic::sub,
        "the first less the second", "{{ sub 5 7 }}" => "-2";
    "mul", "mul NUMBER...", arithmetic::mul,
        "the product of whole numbers", "{{ mul 2 3 4 }}" => "24";
    "div", "div NUMBER NUMBER", arithmetic::div,
        "the first divided by the second, without the rest", "{{ div 7 2 }}" => "3";
    "mod", "mod NUMBER NUMBER", arithmetic::modulo,
        "the rest of that division, with the sign of the first", "{{ mod 7 2 }}" => "1";
    "min", "min NUMBER...", arithmetic::min,
        "the smallest of them", "{{ min 3 1 2 }}" => "1";
    "max", "max NUMBER...", arithmetic::max,
        "the largest of them", "{{ max 3 1 2 }}" => "3";
    "default", "default FALLBACK VALUE", text::default,
        "the value, or the fallback where it is empty: \"\", 0, false or an empty list",
        "{{ \"\" | default \"none\" }}" => "none";
    "quote", "quote TEXT", text::quote,
        "the text as one quoted argument of redis.conf, whatever it holds; not for ACL files, \
         which know no quotes",
        "{{ quote \"a \\\"b\\\"\" }}" => "\"a \\\"b\\\"\"";
    "sha256", "sha256 TEXT", text::sha256,
        "the SHA-256 of the text in hexadecimal, as an ACL file takes a password after #",
        "{{ sha256 \"abc\" }}"
            => "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    "join", "join SEPARATOR LIST", text::join,
        "the items of a list in one text", "{{ slice .ITEMS 0 2 | join \", \" }}" => "a, b";
    "lower", "lower TEXT", text::lower, "the text in lower case", "{{ lower \"AbC\" }}" => "abc";
    "upper", "upper TEXT", text::upper, "the text in upper case", "{{ upper \"AbC\" }}" => "ABC";
    "replace", "replace OLD NEW TEXT", text::replace,
        "the text with every OLD turned into NEW", "{{ replace \"-\" \"_\" \"a-b-c\" }}" => "a_b_c";
    "contains", "contains PART TEXT", text::contains,
        "whether the text holds the part", "{{ contains \"lru\" \"allkeys-lru\" }}" => "true";
    "hasPrefix", "hasPrefix PREFIX TEXT", text::has_prefix,
        "whether the text begins with the prefix",
        "{{ hasPrefix \"all\" \"allkeys-lru\" }}" => "true";
    "hasSuffix", "hasSuffix SUFFIX TEXT", text::has_suffix,
        "whether the text ends with the suffix",
        "{{ hasSuffix \"lfu\" \"allkeys-lru\" }}" => "false";
    "toJson", "toJson VALUE", text::to_json,
        "the value as JSON", "{{ toJson .ITEMS }}" => "[\"a\",\"b\",\"c\"]";
}

/// The arguments of a call, taken with checks that never name a value.
pub(super) struct Arguments<'a> {
    function: &'static str,
    values: &'a [Value],
}

impl<'a> Arguments<'a> {
    /// The arguments of the function of this name.
    pub(super) const fn of(function: &'static str, values: &'a [Value]) -> Self {
        Self { function, values }
    }

    /// Exactly this many.
    pub(super) fn exactly<const N: usize>(&self) -> Result<&'a [Value; N], FuncError> {
        let plural = if N == 1 { "" } else { "s" };
        self.values
            .try_into()
            .map_err(|_| self.refuse_count(&format!("{N} argument{plural}")))
    }

    /// All of them, and at least one.
    pub(super) fn some(&self) -> Result<&'a [Value], FuncError> {
        if self.values.is_empty() {
            return Err(self.refuse_count("at least 1 argument"));
        }
        Ok(self.values)
    }

    /// A text.
    pub(super) fn text(&self, value: &'a Value) -> Result<&'a str, FuncError> {
        if let Value::String(text) = value {
            Ok(text)
        } else {
            Err(self.refuse_kind("a text"))
        }
    }

    /// A whole number.
    pub(super) fn whole(&self, value: &Value) -> Result<i64, FuncError> {
        let number = if let Value::Number(number) = value {
            number.as_i64()
        } else {
            None
        };
        number.ok_or_else(|| self.refuse_kind("a whole number"))
    }

    /// A failure of this function.
    pub(super) fn fail(&self, message: &str) -> FuncError {
        self.say(format!("{}: {message}", self.function))
    }

    pub(super) fn refuse_kind(&self, expected: &str) -> FuncError {
        self.fail(&format!(
            "{expected} is expected, and something else is given"
        ))
    }

    fn refuse_count(&self, expected: &str) -> FuncError {
        let (function, given) = (self.function, self.values.len());
        self.say(format!("{function} takes {expected} and is given {given}"))
    }

    fn say(&self, message: String) -> FuncError {
        fail(code::CALL_FAILED, message, self.usage())
    }

    fn usage(&self) -> Option<String> {
        FUNCTIONS
            .iter()
            .find(|function| function.name == self.function)
            .map(|function| format!("it is called as: {}", function.usage))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::discovery::tests::two_hosts;
    use crate::go::engine::tests::object;
    use crate::go::{Failure, Setting, Surroundings, render};

    /// Renders a text that knows `ITEMS` and the workloads of `two_hosts`.
    pub(in crate::go) fn call(text: &str) -> Result<String, Failure> {
        let items = ["a", "b", "c"].map(Value::from).to_vec();
        let (discovery, me) = two_hosts();
        render(
            text,
            &Setting {
                data: &object([("ITEMS", Value::Array(items))]),
                names: &["ITEMS".to_owned()],
                hidden_secrets: &[],
                surroundings: Some(Surroundings {
                    discovery: &discovery,
                    me: &me,
                }),
            },
        )
    }

    /// Each text gives its result, or a failure that begins so.
    pub(in crate::go) fn check_all(cases: &[(&str, &str)]) {
        for (text, expected) in cases {
            match call(text) {
                Ok(given) => assert_eq!(given, *expected, "{text}"),
                Err(failure) => {
                    assert!(failure.message.starts_with(expected), "{text}: {failure:?}");
                }
            }
        }
    }

    #[test]
    fn every_example_gives_what_the_table_says() {
        for function in FUNCTIONS {
            assert_eq!(
                call(function.example).as_deref(),
                Ok(function.result),
                "{}",
                function.name
            );
            assert!(
                function.example.contains(function.name),
                "{}",
                function.name
            );
            assert!(
                function.usage.starts_with(function.name),
                "{}",
                function.name
            );
        }
    }

    #[test]
    fn wrong_arguments_are_named_with_the_usage() {
        let failure = call("{{ sub 1 }}").unwrap_err();
        assert_eq!(failure.message, "sub takes 2 arguments and is given 1");
        assert_eq!(
            failure.help.as_deref(),
            Some("it is called as: sub NUMBER NUMBER")
        );
        for function in FUNCTIONS {
            let many = format!("{{{{ {} .ITEMS .ITEMS .ITEMS .ITEMS }}}}", function.name);
            let failure = call(&many).unwrap_err();
            assert!(failure.message.starts_with(function.name), "{failure:?}");
        }
    }
}
