//! Finds out whether a key that is at two servers is one and the same: whoever was cut off while
//! copying finds what it had copied, and a key that merely has the same name must be told apart.
//!
//! Values are compared as the servers dump them. Where the dumps differ they are read: servers of
//! two versions encode alike values differently, and a hash table has no order.

use model::address::NodeAddress;
use model::command::{CommandError, Key, KeyQuestion, NodeAnswer, NodeCommand, Shape};
use model::spec::Credentials;

use crate::Ground;
use crate::talk::ANSWER_LIMIT;

/// How many keys are compared at once: their values are all in memory meanwhile.
pub(super) const AT_ONCE: usize = 256;

/// How far two times to live may be apart: a key is copied with what is left of it, and a server
/// that was slow is given up after less.
const LIFETIMES_APART_MS_MAX: u64 = 60_000;

/// The bytes at the end of a dump that are not the value: the version and the checksum.
const FOOT: usize = 10;

/// A server and how to log in to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) address: NodeAddress,
    pub(super) credentials: Option<&'a Credentials>,
}

/// What two servers have of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Match {
    /// The first has nothing of it.
    Gone,
    /// Only the first has it.
    Alone,
    /// Both have the same.
    Same,
    /// Both have it, and not the same.
    Differs,
}

/// Why there is no comparison: what came instead of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct NoAnswer {
    pub(super) address: NodeAddress,
    pub(super) why: String,
}

/// What both have of each of these keys; no more than `AT_ONCE`.
pub(super) async fn all(
    ground: Ground<'_>,
    (here, there): (Place<'_>, Place<'_>),
    keys: &[Key],
) -> Result<Vec<Match>, NoAnswer> {
    let questions = [KeyQuestion::Dump, KeyQuestion::Lifetime];
    let (left, right) = futures::future::join(
        ask(ground, here, keys, &questions),
        ask(ground, there, keys, &questions),
    )
    .await;
    let (left, right) = (left?, right?);
    let pairs = left.chunks(2).zip(right.chunks(2));
    let mut matches = Vec::with_capacity(keys.len());
    for (key, (left, right)) in keys.iter().zip(pairs) {
        matches.push(match judge(left, right) {
            Verdict::Known(found) => found,
            Verdict::Read(shape) => read(ground, (here, there), key, shape).await?,
        });
    }
    Ok(matches)
}

/// Asks each of these questions about each key, and gives the answers in that order.
pub(super) async fn ask(
    ground: Ground<'_>,
    at: Place<'_>,
    keys: &[Key],
    questions: &[KeyQuestion],
) -> Result<Vec<NodeAnswer>, NoAnswer> {
    let commands: Vec<NodeCommand> = keys
        .iter()
        .flat_map(|key| {
            questions.iter().map(|question| NodeCommand::Key {
                key: key.clone(),
                question: *question,
            })
        })
        .collect();
    let sent = ground
        .nodes
        .send(at.address, &commands, at.credentials, ANSWER_LIMIT * 4);
    let fail = |why: String| NoAnswer {
        address: at.address,
        why,
    };
    let answers = sent.await.into_iter().map(|answer| {
        answer.map_err(|error| match error {
            CommandError::Refused(words) => fail(words),
            CommandError::Lost(fault) => fail(fault.message),
        })
    });
    let answers = answers.collect::<Result<Vec<NodeAnswer>, NoAnswer>>()?;
    if answers.len() == commands.len() {
        Ok(answers)
    } else {
        Err(fail("answers are missing".to_owned()))
    }
}

enum Verdict {
    Known(Match),
    /// The dumps differ, and that may be how they are written.
    Read(Shape),
}

/// What a dump and a time to live from each side say.
fn judge(left: &[NodeAnswer], right: &[NodeAnswer]) -> Verdict {
    let [NodeAnswer::Bytes(left), left_lives] = left else {
        return Verdict::Known(Match::Gone);
    };
    let [NodeAnswer::Bytes(right), right_lives] = right else {
        return Verdict::Known(Match::Alone);
    };
    if !lives_alike(left_lives, right_lives) {
        return Verdict::Known(Match::Differs);
    }
    if value(left) == value(right) {
        return Verdict::Known(Match::Same);
    }
    match (shape(left), shape(right)) {
        (Some(left), Some(right)) if left == right => Verdict::Read(left),
        (Some(_) | None, Some(_) | None) => Verdict::Known(Match::Differs),
    }
}

fn value(dump: &[u8]) -> &[u8] {
    &dump[..dump.len().saturating_sub(FOOT)]
}

fn lives_alike(left: &NodeAnswer, right: &NodeAnswer) -> bool {
    match (left, right) {
        (NodeAnswer::Number(left), NodeAnswer::Number(right)) => {
            left.abs_diff(*right) <= LIFETIMES_APART_MS_MAX
        }
        (left, right) => left == right,
    }
}

/// How the value of a dump can be read as a whole, by its first byte (`RDB_TYPE_…`, rdb.h of Redis
/// 7.2). Streams and hashes whose fields expire hold more than any one command tells.
fn shape(dump: &[u8]) -> Option<Shape> {
    match dump.first()? {
        0 => Some(Shape::Text),
        1 | 10 | 14 | 18 => Some(Shape::List),
        2 | 11 | 20 => Some(Shape::Set),
        3 | 5 | 12 | 17 => Some(Shape::SortedSet),
        4 | 9 | 13 | 16 => Some(Shape::Hash),
        _ => None,
    }
}

async fn read(
    ground: Ground<'_>,
    (here, there): (Place<'_>, Place<'_>),
    key: &Key,
    shape: Shape,
) -> Result<Match, NoAnswer> {
    let key = std::slice::from_ref(key);
    let question = [KeyQuestion::Value(shape)];
    let left = ask(ground, here, key, &question).await?;
    let right = ask(ground, there, key, &question).await?;
    let same = left
        .into_iter()
        .map(|it| in_order(it, shape))
        .eq(right.into_iter().map(|it| in_order(it, shape)));
    Ok(if same { Match::Same } else { Match::Differs })
}

/// A value without the order that a hash table gives it.
fn in_order(answer: NodeAnswer, shape: Shape) -> Vec<Vec<Vec<u8>>> {
    let parts = if let NodeAnswer::Keys(parts) = answer {
        parts
    } else if let NodeAnswer::Bytes(text) = answer {
        vec![text]
    } else {
        Vec::new()
    };
    let width = match shape {
        Shape::Hash | Shape::SortedSet => 2,
        Shape::Text | Shape::List | Shape::Set => 1,
    };
    let mut groups: Vec<Vec<Vec<u8>>> = parts.chunks(width).map(<[_]>::to_vec).collect();
    if matches!(shape, Shape::Hash | Shape::Set) {
        groups.sort();
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(dump: &[u8], lives: NodeAnswer) -> [NodeAnswer; 2] {
        let foot = [0; FOOT];
        [NodeAnswer::Bytes([dump, &foot].concat()), lives]
    }

    fn told(verdict: Verdict) -> Option<Match> {
        match verdict {
            Verdict::Known(found) => Some(found),
            Verdict::Read(_) => None,
        }
    }

    #[test]
    fn a_key_is_the_same_only_with_its_value_and_its_time_to_live() {
        let forever = || NodeAnswer::Forever;
        let here = seen(b"\0value", forever());
        let check = |there: &[NodeAnswer], expected: Option<Match>| {
            assert_eq!(told(judge(&here, there)), expected, "{there:?}");
        };
        check(&seen(b"\0value", forever()), Some(Match::Same));
        check(
            &seen(b"\0value", NodeAnswer::Number(9)),
            Some(Match::Differs),
        );
        // Texts may be packed or not: they are read.
        check(&seen(b"\0other", forever()), None);
        check(&seen(b"\x12value", forever()), Some(Match::Differs));
        check(
            &[NodeAnswer::Nothing, NodeAnswer::Nothing],
            Some(Match::Alone),
        );
        let nothing = [NodeAnswer::Nothing, NodeAnswer::Nothing];
        assert_eq!(told(judge(&nothing, &here)), Some(Match::Gone));
        let stream = [seen(b"\x13a", forever()), seen(b"\x13b", forever())];
        assert_eq!(told(judge(&stream[0], &stream[1])), Some(Match::Differs));
    }

    #[test]
    fn a_copy_lives_a_little_longer_or_shorter() {
        let here = seen(b"\0v", NodeAnswer::Number(100_000));
        for (lives, expected) in [(99_000, Match::Same), (10_000, Match::Differs)] {
            let there = seen(b"\0v", NodeAnswer::Number(lives));
            assert_eq!(told(judge(&here, &there)), Some(expected), "{lives}");
        }
    }

    #[test]
    fn a_hash_has_no_order_and_a_list_has() {
        let parts = |words: &[&str]| {
            NodeAnswer::Keys(words.iter().map(|it| it.as_bytes().to_vec()).collect())
        };
        let (one, other) = (&["a", "1", "b", "2"], &["b", "2", "a", "1"]);
        let swapped = &["a", "2", "b", "1"];
        let sorted = |words: &[&str], shape| in_order(parts(words), shape);
        assert_eq!(sorted(one, Shape::Hash), sorted(other, Shape::Hash));
        assert_ne!(sorted(one, Shape::Hash), sorted(swapped, Shape::Hash));
        assert_ne!(sorted(one, Shape::List), sorted(other, Shape::List));
    }
}
