//! Reads who a node was from the `nodes.conf` that it keeps.
//!
//! Only the server writes that file. What does not look like one is no identity.

use model::ids::{Epoch, NodeId};
use model::view::StoredIdentity;

/// A line of `nodes.conf`: id, address, flags, primary, ping, pong, epoch, link, slots.
struct Line<'a> {
    id: NodeId,
    flags: &'a str,
    primary: Option<NodeId>,
    epoch: Epoch,
    owns_slots: bool,
}

/// Who the node is whose `nodes.conf` this is.
pub(crate) fn identity(text: &str) -> Option<StoredIdentity> {
    let lines: Vec<Line<'_>> = text.lines().filter_map(parse_line).collect();
    let myself = lines
        .iter()
        .find(|line| line.flags.split(',').any(|flag| flag == "myself"))?;
    // A replica's own epoch is that of an earlier claim, or 0: what counts is its primary's.
    let claim = myself.primary.and_then(|primary| {
        let line = lines.iter().find(|line| line.id == primary);
        line.map(|line| line.epoch)
    });
    Some(StoredIdentity {
        id: myself.id,
        owns_slots: myself.owns_slots,
        epoch: claim.unwrap_or(myself.epoch),
    })
}

fn parse_line(line: &str) -> Option<Line<'_>> {
    let mut fields = line.split_ascii_whitespace();
    let id = NodeId::parse(fields.next()?)?;
    let flags = fields.nth(1)?;
    let primary = NodeId::parse(fields.next()?);
    let epoch = fields.nth(2)?.parse().ok().map(Epoch)?;
    // After the link come the slots, and in brackets those that are on their way.
    let owns_slots = fields.skip(1).any(|field| !field.starts_with('['));
    Some(Line {
        id,
        flags,
        primary,
        epoch,
        owns_slots,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "07c37dfeb235213a872192d90877d0cd55635b91";
    const B: &str = "67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1";

    fn check(text: &str, expected: Option<(&str, bool, u64)>) {
        let expected = expected.map(|(id, owns_slots, epoch)| StoredIdentity {
            id: NodeId::parse(id).unwrap(),
            owns_slots,
            epoch: Epoch(epoch),
        });
        assert_eq!(identity(text), expected, "{text}");
    }

    #[test]
    fn a_node_knows_itself_by_the_line_that_says_myself() {
        let primary = format!(
            "{B} 127.64.1.2:6379@16379,,tls-port=0,shard-id=x slave {A} 0 1 1 connected\n\
             {A} 127.64.1.1:6379@16379 myself,master - 0 0 7 connected 0-5460 5462 [5461->-{B}]\n\
             vars currentEpoch 9 lastVoteEpoch 0\n"
        );
        check(&primary, Some((A, true, 7)));
        let replica = format!(
            "{A} 127.64.1.1:6379@16379 master - 0 0 7 connected 0-5460\n\
             {B} 127.64.1.2:6379@16379 myself,slave {A} 0 0 1 connected\n"
        );
        check(&replica, Some((B, false, 7)));
        let empty = format!("{A} :0@0 myself,master - 0 0 0 connected\n");
        check(&empty, Some((A, false, 0)));
        let importing = format!("{A} :0@0 myself,master - 0 0 3 connected [5461-<-{B}]\n");
        check(&importing, Some((A, false, 3)));
        let orphan = format!("{B} :0@0 myself,slave {A} 0 0 4 connected\n");
        check(&orphan, Some((B, false, 4)));
    }

    #[test]
    fn what_is_no_such_file_is_no_identity() {
        for text in [
            "",
            "vars currentEpoch 0 lastVoteEpoch 0",
            "\0\0\0",
            "myself,master",
        ] {
            check(text, None);
        }
        check(&format!("{A} :0@0 master - 0 0 7 connected 0-1"), None);
        check(&format!("{A} :0@0 myself,master - 0"), None);
    }
}
