//! The templates that come with Shardyard, and the one that a new template begins as.
//!
//! Their files stand in templates/ and are embedded, so that the one binary needs no folder.

use model::ids::TemplateName;
use model::instance::TemplateFiles;

/// The templates that come along, the default first.
const BUILT_IN: [(&str, &[(&str, &str)]); 5] = [
    (
        "redis-cluster",
        &[
            (
                "template.yaml",
                include_str!("../../../templates/redis-cluster/template.yaml"),
            ),
            (
                "redis.conf",
                include_str!("../../../templates/redis-cluster/redis.conf"),
            ),
            (
                "users.acl",
                include_str!("../../../templates/redis-cluster/users.acl"),
            ),
        ],
    ),
    (
        "redis-sharding",
        &[
            (
                "template.yaml",
                include_str!("../../../templates/redis-sharding/template.yaml"),
            ),
            (
                "redis.conf",
                include_str!("../../../templates/redis-sharding/redis.conf"),
            ),
            (
                "redis-trib.conf",
                include_str!("../../../templates/redis-sharding/redis-trib.conf"),
            ),
        ],
    ),
    (
        "redis-sentinel",
        &[
            (
                "template.yaml",
                include_str!("../../../templates/redis-sentinel/template.yaml"),
            ),
            (
                "redis.conf",
                include_str!("../../../templates/redis-sentinel/redis.conf"),
            ),
            (
                "sentinel.conf",
                include_str!("../../../templates/redis-sentinel/sentinel.conf"),
            ),
            (
                "first-primary",
                include_str!("../../../templates/redis-sentinel/first-primary"),
            ),
            (
                "follow-primary",
                include_str!("../../../templates/redis-sentinel/follow-primary"),
            ),
        ],
    ),
    (
        "redis-servers",
        &[
            (
                "template.yaml",
                include_str!("../../../templates/redis-servers/template.yaml"),
            ),
            (
                "redis.conf",
                include_str!("../../../templates/redis-servers/redis.conf"),
            ),
            (
                "ring.json",
                include_str!("../../../templates/redis-servers/ring.json"),
            ),
        ],
    ),
    (
        "redis-twemproxy",
        &[
            (
                "template.yaml",
                include_str!("../../../templates/redis-twemproxy/template.yaml"),
            ),
            (
                "redis.conf",
                include_str!("../../../templates/redis-twemproxy/redis.conf"),
            ),
            (
                "nutcracker.yml",
                include_str!("../../../templates/redis-twemproxy/nutcracker.yml"),
            ),
        ],
    ),
];

const STARTER: [(&str, &str); 3] = [
    ("template.yaml", include_str!("../starter/template.yaml")),
    ("redis.conf", include_str!("../starter/redis.conf")),
    ("addresses", include_str!("../starter/addresses")),
];

/// The names of the templates that come along; the first one is taken when nobody names one.
pub fn names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

/// The files of a template that comes along.
#[must_use]
pub fn files(name: &str) -> Option<TemplateFiles> {
    let (_, files) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
    Some(folder(files))
}

/// The files that a new template of this name begins with: commented, and in order as they are.
#[must_use]
pub fn starter(name: &TemplateName) -> TemplateFiles {
    let mut files = folder(&STARTER);
    for text in files.files.values_mut() {
        *text = text.replace("@NAME@", name.as_str());
    }
    files
}

fn folder(files: &[(&str, &str)]) -> TemplateFiles {
    TemplateFiles {
        files: files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect(),
    }
}
