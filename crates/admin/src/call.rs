//! Sends one command to one server and writes the answer as redis-cli does.

use model::address::NodeAddress;
use redis::Value;

use crate::Session;
use crate::connection::NodeError;

/// How deep an answer may be nested; those of the servers have four levels at most.
const DEPTH_MAX: usize = 32;

/// The answer to a command.
pub(crate) async fn one(
    session: Session<'_>,
    address: NodeAddress,
    command: &[String],
) -> Result<String, NodeError> {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let mut connection = session.to(address).await?;
    let answer = connection.ask(&words).await?;
    let mut text = String::new();
    write(&answer, "", 0, &mut text);
    Ok(text.trim_end().to_owned())
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the client library's values may grow"
)]
fn write(value: &Value, indent: &str, depth: usize, out: &mut String) {
    if depth > DEPTH_MAX {
        out.push_str("(too deep)\n");
        return;
    }
    match value {
        Value::Nil => out.push_str("(nil)\n"),
        Value::Int(number) => out.push_str(&format!("(integer) {number}\n")),
        Value::BulkString(bytes) => out.push_str(&shown(bytes, depth)),
        Value::SimpleString(text) => out.push_str(&format!("{text}\n")),
        Value::VerbatimString { text, .. } => out.push_str(&format!("{text}\n")),
        Value::Okay => out.push_str("OK\n"),
        Value::Double(number) => out.push_str(&format!("(double) {number}\n")),
        Value::Boolean(answer) => out.push_str(if *answer { "(true)\n" } else { "(false)\n" }),
        Value::Array(items) | Value::Set(items) => list(items.iter(), indent, depth, out),
        Value::Map(pairs) => {
            let items = pairs.iter().flat_map(|(key, value)| [key, value]);
            list(items, indent, depth, out);
        }
        Value::Attribute { data, .. } => write(data, indent, depth, out),
        other => out.push_str(&format!("{other:?}\n")),
    }
}

/// A text at the top is printed as it is, for INFO and its like; within a list it is quoted.
fn shown(bytes: &[u8], depth: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    if depth == 0 {
        format!("{text}\n")
    } else {
        format!("\"{}\"\n", text.escape_debug())
    }
}

fn list<'v>(items: impl Iterator<Item = &'v Value>, indent: &str, depth: usize, out: &mut String) {
    let mut number = 0;
    for item in items {
        number += 1;
        let head = format!("{number}) ");
        if number > 1 {
            out.push_str(indent);
        }
        out.push_str(&head);
        let inner = format!("{indent}{}", " ".repeat(head.len()));
        write(item, &inner, depth + 1, out);
    }
    if number == 0 {
        out.push_str("(empty array)\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_written_as_redis_cli_does() {
        let check = |value: &Value, expected: &str| {
            let mut text = String::new();
            write(value, "", 0, &mut text);
            assert_eq!(text, expected);
        };
        check(&Value::Okay, "OK\n");
        check(&Value::Nil, "(nil)\n");
        check(
            &Value::BulkString(b"# Server\r\n".to_vec()),
            "# Server\r\n\n",
        );
        check(&Value::Array(vec![]), "(empty array)\n");
        check(
            &Value::Array(vec![
                Value::Int(1),
                Value::Array(vec![Value::BulkString(b"a\"b".to_vec()), Value::Nil]),
            ]),
            "1) (integer) 1\n2) 1) \"a\\\"b\"\n   2) (nil)\n",
        );
    }
}
