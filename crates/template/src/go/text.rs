//! Functions over texts and sizes.

use std::fmt::Write;

use gtmpl_ng::{FuncError, NumberKind, Value, limits};
use model::size::ByteSize;
use sha2::{Digest, Sha256};

use super::function::Arguments;
use crate::maxmemory;

pub(super) fn bytes(values: &[Value]) -> Result<Value, FuncError> {
    let arguments = Arguments::of("bytes", values);
    let [given] = arguments.exactly()?;
    if matches!(given, Value::Number(_)) {
        return Ok(Value::from(byte_count(&arguments, given)?));
    }
    let count = ByteSize::parse(arguments.text(given)?)
        .ok()
        .and_then(|size| i64::try_from(size.as_bytes()).ok());
    count
        .map(Value::from)
        .ok_or_else(|| arguments.refuse_kind("a size such as 256MiB"))
}

pub(super) fn size(values: &[Value]) -> Result<Value, FuncError> {
    let arguments = Arguments::of("size", values);
    let [given] = arguments.exactly()?;
    let count = byte_count(&arguments, given)?;
    let units = [("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10)];
    let unit = units
        .into_iter()
        .find(|(_, unit)| count > 0 && count % unit == 0);
    Ok(Value::from(match unit {
        Some((name, unit)) => format!("{}{name}", count / unit),
        None => count.to_string(),
    }))
}

pub(super) fn maxmemory(values: &[Value]) -> Result<Value, FuncError> {
    let arguments = Arguments::of("maxmemory", values);
    let [given] = arguments.exactly()?;
    let limit = u64::try_from(byte_count(&arguments, given)?)
        .map_err(|_| arguments.refuse_kind("a number of bytes"))?;
    let usable = maxmemory::usable(ByteSize::bytes(limit))
        .and_then(|usable| i64::try_from(usable.as_bytes()).ok());
    usable.map(Value::from).ok_or_else(|| {
        arguments.fail(&format!(
            "a server needs a limit of at least {}",
            maxmemory::LIMIT_MIN
        ))
    })
}

fn byte_count(arguments: &Arguments<'_>, value: &Value) -> Result<i64, FuncError> {
    let count = arguments.whole(value)?;
    if count < 0 {
        return Err(arguments.refuse_kind("a number of bytes"));
    }
    Ok(count)
}

pub(super) fn default(values: &[Value]) -> Result<Value, FuncError> {
    let arguments = Arguments::of("default", values);
    let [fallback, given] = arguments.exactly()?;
    Ok(if is_empty(given) { fallback } else { given }.clone())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::NoValue | Value::Nil => true,
        Value::Bool(given) => !given,
        Value::String(text) => text.is_empty(),
        Value::Object(fields) | Value::Map(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Function(_) => false,
        Value::Number(number) => number.as_i64() == Some(0),
    }
}

/// What redis.conf reads as exactly this text (`sdssplitargs`, sds.c): in quotes, with everything
/// but plain characters as `\xHH`, so that neither a quote nor a line break can end it.
pub(super) fn quote(values: &[Value]) -> Result<Value, FuncError> {
    let arguments = Arguments::of("quote", values);
    let [given] = arguments.exactly()?;
    let mut quoted = String::from('"');
    for byte in arguments.text(given)?.bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            b' '..=b'~' => quoted.push(char::from(byte)),
            // Writing to a String does not fail.
            _ => write!(quoted, "\\x{byte:02x}").unwrap_or_default(),
        }
    }
    quoted.push('"');
    Ok(Value::from(quoted))
}

pub(super) fn sha256(values: &[Value]) -> Result<Value, FuncError> {
    let arguments = Arguments::of("sha256", values);
    let [given] = arguments.exactly()?;
    let digest = Sha256::digest(arguments.text(given)?.as_bytes());
    let mut hexadecimal = String::new();
    for byte in digest {
        write!(hexadecimal, "{byte:02x}").unwrap_or_default();
    }
    Ok(Value::from(hexadecimal))
}

pub(super) fn join(values: &[Value]) -> Result<Value, FuncError> {
    let arguments = Arguments::of("join", values);
    let [separator, list] = arguments.exactly()?;
    let separator = arguments.text(separator)?;
    let Value::Array(items) = list else {
        return Err(arguments.refuse_kind("a list"));
    };
    check_length(&arguments, separator.len().saturating_mul(items.len()))?;
    let items: Vec<String> = items
        .iter()
        .map(|item| {
            if matches!(item, Value::String(_) | Value::Number(_) | Value::Bool(_)) {
                Ok(item.to_string())
            } else {
                Err(arguments.refuse_kind("a list of texts or numbers"))
            }
        })
        .collect::<Result<_, _>>()?;
    Ok(Value::from(items.join(separator)))
}

pub(super) fn lower(values: &[Value]) -> Result<Value, FuncError> {
    let arguments = Arguments::of("lower", values);
    let [given] = arguments.exactly()?;
    Ok(Value::from(arguments.text(given)?.to_lowercase()))
}

pub(super) fn upper(values: &[Value]) -> Result<Value, FuncError> {
    let arguments = Arguments::of("upper", values);
    let [given] = arguments.exactly()?;
    Ok(Value::from(arguments.text(given)?.to_uppercase()))
}

pub(super) fn replace(values: &[Value]) -> Result<Value, FuncError> {
    let arguments = Arguments::of("replace", values);
    let [old, new, given] = arguments.exactly()?;
    let (old, new) = (arguments.text(old)?, arguments.text(new)?);
    let text = arguments.text(given)?;
    let added = text.matches(old).count().saturating_mul(new.len());
    check_length(&arguments, added)?;
    Ok(Value::from(text.replace(old, new)))
}

pub(super) fn contains(values: &[Value]) -> Result<Value, FuncError> {
    compare("contains", values, |text, part| text.contains(part))
}

pub(super) fn has_prefix(values: &[Value]) -> Result<Value, FuncError> {
    compare("hasPrefix", values, |text, part| text.starts_with(part))
}

pub(super) fn has_suffix(values: &[Value]) -> Result<Value, FuncError> {
    compare("hasSuffix", values, |text, part| text.ends_with(part))
}

fn compare(
    function: &'static str,
    values: &[Value],
    holds: impl Fn(&str, &str) -> bool,
) -> Result<Value, FuncError> {
    let arguments = Arguments::of(function, values);
    let [part, given] = arguments.exactly()?;
    let part = arguments.text(part)?;
    Ok(Value::from(holds(arguments.text(given)?, part)))
}

/// Refuses a text before it is made: the engine looks at a result only once it is there.
fn check_length(arguments: &Arguments<'_>, length: usize) -> Result<(), FuncError> {
    let limit = limits::active().function_output.unwrap_or(usize::MAX);
    if length > limit {
        return Err(arguments.fail("the result would be too long"));
    }
    Ok(())
}

pub(super) fn to_json(values: &[Value]) -> Result<Value, FuncError> {
    let arguments = Arguments::of("toJson", values);
    let [given] = arguments.exactly()?;
    let json =
        json_of(given).ok_or_else(|| arguments.refuse_kind("a value that JSON can write"))?;
    Ok(Value::from(json.to_string()))
}

/// Depth is no concern: the engine refuses values that nest deeply before they get here.
fn json_of(value: &Value) -> Option<serde_json::Value> {
    use serde_json::Value as Json;
    Some(match value {
        Value::NoValue | Value::Function(_) => return None,
        Value::Nil => Json::Null,
        Value::Bool(given) => Json::from(*given),
        Value::String(text) => Json::from(text.as_str()),
        Value::Array(items) => Json::Array(items.iter().map(json_of).collect::<Option<_>>()?),
        Value::Object(fields) | Value::Map(fields) => fields
            .iter()
            .map(|(name, field)| Some((name.clone(), json_of(field)?)))
            .collect::<Option<_>>()
            .map(Json::Object)?,
        Value::Number(number) => match number.kind() {
            NumberKind::Signed(signed) => Json::from(signed),
            NumberKind::Unsigned(unsigned) => Json::from(unsigned),
            NumberKind::Float(float) => Json::from(float),
        },
    })
}

#[cfg(test)]
mod tests {
    use crate::go::function::tests::{call, check_all};

    #[test]
    fn sizes_are_read_and_written_exactly() {
        check_all(&[
            ("{{ bytes \"256MiB\" }}", "268435456"),
            ("{{ bytes 17 }}", "17"),
            (
                "{{ bytes \"much\" }}",
                "bytes: a size such as 256MiB is expected",
            ),
            (
                "{{ bytes \"18446744073709551615\" }}",
                "bytes: a size such as",
            ),
            ("{{ bytes -1 }}", "bytes: a number of bytes is expected"),
            ("{{ size 0 }}", "0"),
            ("{{ size 1073741824 }}", "1gb"),
            ("{{ size 1610612736 }}", "1536mb"),
            ("{{ size 1536 }}", "1536"),
            ("{{ size 1025 }}", "1025"),
            ("{{ size -1 }}", "size: a number of bytes is expected"),
            ("{{ size 2048 | bytes }}", "2048"),
        ]);
    }

    #[test]
    fn maxmemory_is_never_the_number_that_means_no_limit() {
        check_all(&[
            ("{{ maxmemory 33554432 | size }}", "13mb"),
            (
                "{{ maxmemory 33554431 }}",
                "maxmemory: a server needs a limit of at least 32 MiB",
            ),
            (
                "{{ maxmemory 0 }}",
                "maxmemory: a server needs a limit of at least 32 MiB",
            ),
            (
                "{{ maxmemory -1 }}",
                "maxmemory: a number of bytes is expected",
            ),
        ]);
    }

    #[test]
    fn a_default_stands_in_for_what_is_empty() {
        check_all(&[
            ("{{ default 1 0 }}", "1"),
            ("{{ default 1 2 }}", "2"),
            ("{{ default \"x\" false }}", "x"),
            ("{{ default \"x\" (slice .ITEMS 0 0) }}", "x"),
            ("{{ default \"x\" nil }}", "x"),
        ]);
    }

    #[test]
    fn nothing_breaks_out_of_a_quoted_text() {
        check_all(&[
            ("{{ quote \"\" }}", "\"\""),
            ("{{ quote \"a # b'\" }}", "\"a # b'\""),
            (
                "{{ quote \"x\\nrename-command A B\" }}",
                "\"x\\x0arename-command A B\"",
            ),
            ("{{ quote \"\\\\\\\"y\" }}", "\"\\\\\\\"y\""),
            ("{{ quote \"é\" }}", "\"\\xc3\\xa9\""),
            ("{{ quote 1 }}", "quote: a text is expected"),
        ]);
    }

    #[test]
    fn texts_are_compared_changed_and_joined() {
        check_all(&[
            ("{{ upper \"straße\" }}", "STRASSE"),
            ("{{ lower \"ÄB\" }}", "äb"),
            ("{{ replace \"\" \"-\" \"ab\" }}", "-a-b-"),
            ("{{ contains \"x\" \"abc\" }}", "false"),
            ("{{ \"abc\" | hasPrefix \"ab\" }}", "true"),
            ("{{ \"abc\" | hasSuffix \"bc\" }}", "true"),
            ("{{ join \"\" .ITEMS }}", "abc"),
            ("{{ join \",\" \"abc\" }}", "join: a list is expected"),
            (
                "{{ join \",\" services }}",
                "join: a list of texts or numbers is expected",
            ),
            (
                "{{ sha256 \"\" }}",
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
        ]);
    }

    #[test]
    fn json_is_written_with_sorted_keys_and_escapes() {
        check_all(&[
            ("{{ toJson \"a\\\"\\n<\" }}", "\"a\\\"\\n<\""),
            (
                "{{ toJson 1.5 }} {{ toJson -1 }} {{ toJson true }}",
                "1.5 -1 true",
            ),
            (
                "{{ toJson (self).Host }}",
                "{\"IPAddr\":\"10.9.0.1\",\"Name\":\"host-a\"}",
            ),
        ]);
    }

    #[test]
    fn a_text_that_would_be_huge_is_refused_before_it_is_made() {
        let text = "{{ $s := printf \"%999999d\" 1 }}{{ replace \" \" $s $s }}";
        assert_eq!(
            call(text).unwrap_err().message,
            "replace: the result would be too long"
        );
    }
}
