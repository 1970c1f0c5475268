//! What a node says of its clients and of its slow commands, read from its answers. No password is
//! handed on: the servers mask them, and what an older one does not is masked here.

use crate::reply::Part;
use crate::settings::is_secret;
use crate::wire::{ClientBody, ClientList, SlowCommand};

/// How many clients are told: a page shows no more, and a node may have ten thousand.
const CLIENTS_MAX: usize = 1000;

/// The answer to CLIENT LIST.
pub(crate) fn clients(answer: &str) -> ClientList {
    let all: Vec<ClientBody> = answer.lines().filter_map(client).collect();
    ClientList {
        total: all.len(),
        clients: all.into_iter().take(CLIENTS_MAX).collect(),
    }
}

fn client(line: &str) -> Option<ClientBody> {
    let field = |name: &str| {
        let mut fields = line.split_whitespace().filter_map(|it| it.split_once('='));
        let value = fields.find(|it| it.0 == name)?.1;
        (!value.is_empty()).then(|| value.to_owned())
    };
    let number = |name: &str| field(name).and_then(|it| it.parse().ok());
    Some(ClientBody {
        id: number("id")?,
        address: field("addr")?,
        name: field("name"),
        user: field("user"),
        age_s: number("age").unwrap_or(0),
        idle_s: number("idle").unwrap_or(0),
        flags: field("flags").unwrap_or_default(),
        command: field("cmd").map(|it| it.replace('|', " ")),
        memory_bytes: number("tot-mem"),
        lib_name: field("lib-name"),
    })
}

/// The answer to SLOWLOG GET.
pub(crate) fn slow_commands(answer: &str) -> Vec<SlowCommand> {
    Part::read(answer).items().iter().filter_map(slow).collect()
}

fn slow(entry: &Part) -> Option<SlowCommand> {
    let items = entry.items();
    let text = |at: usize| {
        items
            .get(at)
            .and_then(Part::text)
            .filter(|it| !it.is_empty())
    };
    let words = items.get(3)?.items().iter().filter_map(Part::text);
    let at = jiff::Timestamp::from_second(items.get(1)?.number()?).ok()?;
    Some(SlowCommand {
        id: items.first()?.number()?,
        at: at.to_string(),
        took_us: items.get(2)?.number()?,
        command: masked(words.map(str::to_owned).collect()),
        address: text(4).map(str::to_owned),
        name: text(5).map(str::to_owned),
    })
}

/// What stands for what is not shown, as the servers write it.
const MASK: &str = "(redacted)";

/// A command without the passwords among its words.
fn masked(mut words: Vec<String>) -> Vec<String> {
    let first = words.first().map(|it| it.to_ascii_uppercase());
    match first.as_deref() {
        Some("AUTH" | "HELLO") => words.iter_mut().skip(1).for_each(hide),
        Some("ACL") => words.iter_mut().skip(2).for_each(hide),
        Some("CONFIG" | "SENTINEL" | "MIGRATE") => {
            for at in 1..words.len() {
                let before = &words[at - 1];
                let is_second = at >= 2 && words[at - 2].eq_ignore_ascii_case("AUTH2");
                if is_second || is_secret(before) {
                    hide(&mut words[at]);
                }
            }
        }
        _ => {}
    }
    words
}

fn hide(word: &mut String) {
    MASK.clone_into(word);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_read_with_what_their_server_tells() {
        let list = clients(
            "id=4 addr=127.0.0.1:5 laddr=127.0.0.1:6379 fd=9 name= age=7 idle=2 flags=N db=0 \
             tot-mem=22298 events=r cmd=client|list user=default redir=-1 resp=2\n\
             id=5 addr=10.0.0.2:6 name=cart age=1 idle=0 flags=S cmd=replconf\n",
        );
        assert_eq!(list.total, 2);
        let first = &list.clients[0];
        assert_eq!((first.id, first.age_s, first.idle_s), (4, 7, 2));
        assert_eq!(first.name, None);
        assert_eq!(first.user.as_deref(), Some("default"));
        assert_eq!(first.command.as_deref(), Some("client list"));
        assert_eq!(first.memory_bytes, Some(22298));
        assert_eq!(list.clients[1].name.as_deref(), Some("cart"));
        assert_eq!(list.clients[1].user, None);
    }

    #[test]
    fn slow_commands_are_read_and_what_is_no_entry_is_left_out() {
        let log = slow_commands(
            "1) 1) (integer) 14\n   2) (integer) 1309448221\n   3) (integer) 15\n   \
             4) 1) \"get\"\n      2) \"a b\"\n   5) \"127.0.0.1:58217\"\n   6) \"\"\n\
             2) 1) (integer) 13\n",
        );
        assert_eq!(log.len(), 1);
        assert_eq!(log[0].command, ["get", "a b"]);
        assert_eq!(log[0].at, "2011-06-30T15:37:01Z");
        assert_eq!(log[0].address.as_deref(), Some("127.0.0.1:58217"));
        assert_eq!(log[0].name, None);
    }

    #[test]
    fn no_password_of_a_slow_command_is_shown() {
        for line in [
            "auth hunter2",
            "AUTH app hunter2",
            "HELLO 3 AUTH app hunter2",
            "acl setuser app on >hunter2",
            "config set maxmemory 1 requirepass hunter2",
            "CONFIG SET masterauth hunter2",
            "migrate h 1 k 0 5 AUTH hunter2 KEYS k",
            "MIGRATE h 1 k 0 5 AUTH2 app hunter2 KEYS k",
            "SENTINEL SET main auth-pass hunter2",
        ] {
            let words = line.split(' ').map(str::to_owned).collect();
            let shown = masked(words).join(" ");
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(shown.contains("(redacted)"), "{shown}");
        }
        let plain = vec!["SET".to_owned(), "password".to_owned(), "x".to_owned()];
        assert_eq!(masked(plain.clone()), plain);
    }
}
