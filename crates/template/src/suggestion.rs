//! Did you mean: the known word that is nearest to one that is not known.

/// The candidate that a person most likely meant, if one is near enough to be worth naming.
pub(crate) fn closest<'a>(
    given: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // A third of a word may be wrong; beyond that a suggestion is a guess.
    let reach = (given.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .map(|candidate| (distance(given, candidate, reach), candidate))
        .filter(|(distance, _)| *distance <= reach)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A sentence that names the nearest candidate, or all of them where there are few.
pub(crate) fn did_you_mean<'a>(
    given: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    const LISTED_MAX: usize = 16;
    let candidates: Vec<&str> = candidates.into_iter().collect();
    if let Some(near) = closest(given, candidates.iter().copied()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let listed = (1..=LISTED_MAX).contains(&candidates.len());
    listed.then(|| format!("there are: {}", candidates.join(", ")))
}

/// How many letters must be changed, added, left out or swapped with their neighbour to get from
/// one word to the other, whatever their case; words longer than any name count as far apart.
fn distance(left: &str, right: &str, reach: usize) -> usize {
    const LENGTH_MAX: usize = 80;
    let left: Vec<char> = left.to_lowercase().chars().take(LENGTH_MAX + 1).collect();
    let right: Vec<char> = right.to_lowercase().chars().take(LENGTH_MAX + 1).collect();
    if left.len().abs_diff(right.len()) > reach || left.len().max(right.len()) > LENGTH_MAX {
        return usize::MAX;
    }
    let mut before_last = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, left_char) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, right_char) in right.iter().enumerate() {
            let changed = last[column] + usize::from(left_char != right_char);
            let mut cost = changed.min(last[column + 1] + 1).min(current[column] + 1);
            let swapped = row > 0
                && column > 0
                && left[row - 1] == *right_char
                && *left_char == right[column - 1];
            if swapped {
                cost = cost.min(before_last[column - 1] + 1);
            }
            current.push(cost);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        let names = ["REPLICAS_NUM", "SHARDS", "MEMORY"];
        for (given, expected) in [
            ("REPLICA_NUM", Some("REPLICAS_NUM")),
            ("replicas_num", Some("REPLICAS_NUM")),
            ("SHRADS", Some("SHARDS")),
            ("MEMORYX", Some("MEMORY")),
            ("PASSWORD", None),
            ("", None),
        ] {
            assert_eq!(closest(given, names), expected, "{given}");
        }
    }

    #[test]
    fn a_swap_of_neighbours_is_one_slip() {
        assert_eq!(distance("ab", "ba", 4), 1);
        assert_eq!(distance("kitten", "sitting", 4), 3);
        assert_eq!(distance("same", "same", 4), 0);
    }

    #[test]
    fn a_text_of_a_megabyte_is_not_compared() {
        assert_eq!(closest(&"x".repeat(1_000_000), ["SHARDS"]), None);
    }

    #[test]
    fn few_candidates_are_listed_where_none_is_near() {
        assert_eq!(
            did_you_mean("zebra", ["spread", "pack"]).as_deref(),
            Some("there are: spread, pack")
        );
        assert_eq!(did_you_mean("zebra", []), None);
    }
}
