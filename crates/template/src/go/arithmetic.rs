//! Functions over whole numbers. What does not fit is an error, never a wrong number.

use gtmpl_ng::{FuncError, Value};

use super::function::Arguments;

pub(super) fn add(values: &[Value]) -> Result<Value, FuncError> {
    fold("add", values, i64::checked_add)
}

pub(super) fn mul(values: &[Value]) -> Result<Value, FuncError> {
    fold("mul", values, i64::checked_mul)
}

pub(super) fn min(values: &[Value]) -> Result<Value, FuncError> {
    fold("min", values, |left, right| Some(left.min(right)))
}

pub(super) fn max(values: &[Value]) -> Result<Value, FuncError> {
    fold("max", values, |left, right| Some(left.max(right)))
}

pub(super) fn sub(values: &[Value]) -> Result<Value, FuncError> {
    pair("sub", values, i64::checked_sub)
}

pub(super) fn div(values: &[Value]) -> Result<Value, FuncError> {
    refuse_zero("div", values)?;
    pair("div", values, i64::checked_div)
}

pub(super) fn modulo(values: &[Value]) -> Result<Value, FuncError> {
    refuse_zero("mod", values)?;
    pair("mod", values, i64::checked_rem)
}

fn fold(
    function: &'static str,
    values: &[Value],
    combine: impl Fn(i64, i64) -> Option<i64>,
) -> Result<Value, FuncError> {
    let arguments = Arguments::of(function, values);
    let mut result = None;
    for value in arguments.some()? {
        let number = arguments.whole(value)?;
        let so_far = match result {
            None => Some(number),
            Some(before) => combine(before, number),
        };
        result = Some(so_far.ok_or_else(|| too_large(&arguments))?);
    }
    Ok(Value::from(result.unwrap_or_default()))
}

fn pair(
    function: &'static str,
    values: &[Value],
    combine: impl Fn(i64, i64) -> Option<i64>,
) -> Result<Value, FuncError> {
    let arguments = Arguments::of(function, values);
    let [left, right] = arguments.exactly()?;
    let result = combine(arguments.whole(left)?, arguments.whole(right)?);
    result.map(Value::from).ok_or_else(|| too_large(&arguments))
}

fn refuse_zero(function: &'static str, values: &[Value]) -> Result<(), FuncError> {
    let arguments = Arguments::of(function, values);
    let [_, divisor] = arguments.exactly()?;
    if arguments.whole(divisor)? == 0 {
        return Err(arguments.fail("the divisor is zero"));
    }
    Ok(())
}

fn too_large(arguments: &Arguments<'_>) -> FuncError {
    arguments.fail("the result is larger than can be counted")
}

#[cfg(test)]
mod tests {
    use crate::go::function::tests::{call, check_all};

    #[test]
    fn whole_numbers_are_computed() {
        check_all(&[
            ("{{ add 1 -2 }}", "-1"),
            ("{{ add 5 }}", "5"),
            ("{{ sub 1 2 }}", "-1"),
            ("{{ mul 3 -4 }}", "-12"),
            ("{{ div -7 2 }}", "-3"),
            ("{{ mod -7 2 }}", "-1"),
            ("{{ min 3 -1 2 }}", "-1"),
            ("{{ max 3 -1 2 }}", "3"),
            ("{{ 268435456 | mul 2 | div 1073741824 }}", "2"),
        ]);
    }

    #[test]
    fn division_by_zero_and_overflow_are_errors_with_a_place() {
        check_all(&[
            ("{{ div 1 0 }}", "div: the divisor is zero"),
            ("{{ mod 1 0 }}", "mod: the divisor is zero"),
            (
                "{{ add 9223372036854775807 1 }}",
                "add: the result is larger",
            ),
            (
                "{{ sub -9223372036854775807 2 }}",
                "sub: the result is larger",
            ),
            (
                "{{ mul 9223372036854775807 2 }}",
                "mul: the result is larger",
            ),
            (
                "{{ add 18446744073709551615 0 }}",
                "add: a whole number is expected",
            ),
            ("{{ add 1.5 1 }}", "add: a whole number is expected"),
            ("{{ add \"1\" 1 }}", "add: a whole number is expected"),
            ("{{ min }}", "min takes at least 1 argument and is given 0"),
        ]);
        let text = "a\n{{ add 1 (div 1 0) }}";
        assert_eq!(&text[call(text).unwrap_err().range], "(div 1 0)");
    }
}
