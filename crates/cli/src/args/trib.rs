//! What the user typed after `trib`. The words are those of `redis-cli --cluster`, with and without
//! their `--cluster-`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::By;

#[derive(Debug, Subcommand)]
pub(crate) enum TribVerb {
    /// Make empty servers that run a cluster
    Create {
        /// The servers: HOST:PORT
        #[arg(required = true, value_name = "HOST:PORT")]
        nodes: Vec<String>,
        /// The replicas of each shard
        #[arg(
            long,
            alias = "cluster-replicas",
            default_value_t = 0,
            value_name = "N"
        )]
        replicas: u16,
        /// Show what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
        /// How many seconds the cluster may take to be ready
        #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
        wait_timeout: u64,
        #[command(flatten)]
        login: Login,
    },
    /// Judge a cluster: every node is asked
    Check {
        /// One of its nodes: HOST:PORT
        #[arg(value_name = "HOST:PORT")]
        node: String,
        #[command(flatten)]
        login: Login,
    },
    /// Describe a cluster in a line for each primary
    Info {
        /// One of its nodes: HOST:PORT
        #[arg(value_name = "HOST:PORT")]
        node: String,
        #[command(flatten)]
        login: Login,
    },
    /// Settle slots that are open, have no owner or several, by a plan that is shown first
    Fix {
        /// One of its nodes: HOST:PORT
        #[arg(value_name = "HOST:PORT")]
        node: String,
        /// Give up what only nodes have that do not answer; asks for HOST:PORT to be typed, or
        /// --confirm HOST:PORT beside --yes
        #[arg(long, alias = "cluster-fix-with-unreachable-masters")]
        fix_with_unreachable_masters: bool,
        /// The node's address once more, beside --yes, where data is given up without a question
        #[arg(long, value_name = "HOST:PORT")]
        confirm: Option<String>,
        /// Several owners are always looked for
        #[arg(long, alias = "cluster-search-multiple-owners", hide = true)]
        search_multiple_owners: bool,
        #[command(flatten)]
        moves: MoveArguments,
        #[command(flatten)]
        login: Login,
    },
    /// Give a primary more slots
    Reshard {
        /// One of its nodes: HOST:PORT
        #[arg(value_name = "HOST:PORT")]
        node: String,
        /// Who gives, with commas between: ids, beginnings of ids, or HOST:PORT [default: all]
        #[arg(
            long,
            alias = "cluster-from",
            value_name = "NODES",
            value_delimiter = ','
        )]
        from: Vec<String>,
        /// Who takes
        #[arg(long, alias = "cluster-to", value_name = "NODE")]
        to: String,
        /// How many slots
        #[arg(long, alias = "cluster-slots", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=16_384))]
        slots: u16,
        #[command(flatten)]
        moves: MoveArguments,
        #[command(flatten)]
        login: Login,
    },
    /// Give each primary its share of slots
    Rebalance {
        /// One of its nodes: HOST:PORT
        #[arg(value_name = "HOST:PORT")]
        node: String,
        /// The weight of a primary against the others, 1 where nothing is said; 0 empties it
        #[arg(long, alias = "cluster-weight", value_name = "NODE=WEIGHT", num_args = 1..)]
        weight: Vec<String>,
        /// Primaries without a slot get their share, too
        #[arg(long, alias = "cluster-use-empty-masters")]
        use_empty_masters: bool,
        /// Leave everything as it is while each is within so many percent of its share
        #[arg(long, alias = "cluster-threshold", value_name = "PERCENT", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=100))]
        threshold: u32,
        /// By what a slot is weighed
        #[arg(long, value_enum, default_value = "slots")]
        by: By,
        #[command(flatten)]
        moves: MoveArguments,
        #[command(flatten)]
        login: Login,
    },
    /// Bring the keys of a server that is in no cluster into one. It must not be written to
    /// meanwhile
    Import(ImportArguments),
    /// Copy the data of every shard into a folder, as RDB files with their checksums. Each is its
    /// shard at a moment of its own: writes to two shards may be in one file and not in the other
    Backup(BackupArguments),
    /// Have an empty server join a cluster
    AddNode {
        /// The server: HOST:PORT
        #[arg(value_name = "NEW")]
        new: String,
        /// One of the cluster's nodes: HOST:PORT
        #[arg(value_name = "HOST:PORT")]
        node: String,
        /// It becomes a replica
        #[arg(
            long,
            visible_alias = "slave",
            alias = "cluster-slave",
            alias = "cluster-replica"
        )]
        replica: bool,
        /// Of whom [default: the primary with the fewest replicas]
        #[arg(
            long,
            alias = "cluster-master-id",
            value_name = "NODE",
            requires = "replica"
        )]
        master_id: Option<String>,
        #[command(flatten)]
        run: RunArguments,
        #[command(flatten)]
        login: Login,
    },
    /// Have a node without slots leave its cluster; the server runs on
    DelNode {
        /// One of the cluster's nodes: HOST:PORT
        #[arg(value_name = "HOST:PORT")]
        node: String,
        /// Who goes: an id, the beginning of one, or HOST:PORT
        #[arg(value_name = "NODE")]
        gone: String,
        #[command(flatten)]
        run: RunArguments,
        #[command(flatten)]
        login: Login,
    },
    /// Set after how many milliseconds a silent node counts as dead, on every node
    SetTimeout {
        /// One of its nodes: HOST:PORT
        #[arg(value_name = "HOST:PORT")]
        node: String,
        /// The milliseconds
        #[arg(value_parser = clap::value_parser!(u64).range(100..=86_400_000))]
        milliseconds: u64,
        #[command(flatten)]
        run: RunArguments,
        #[command(flatten)]
        login: Login,
    },
    /// Send a command to each node of a cluster
    Call {
        /// One of its nodes: HOST:PORT
        #[arg(value_name = "HOST:PORT")]
        node: String,
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
        /// Only to primaries
        #[arg(long, alias = "cluster-only-masters", conflicts_with = "only_replicas")]
        only_masters: bool,
        /// Only to replicas
        #[arg(long, alias = "cluster-only-replicas")]
        only_replicas: bool,
        #[command(flatten)]
        login: Login,
    },
}

impl TribVerb {
    /// How to log in.
    pub(crate) const fn login(&self) -> &Login {
        match self {
            Self::Create { login, .. }
            | Self::Check { login, .. }
            | Self::Info { login, .. }
            | Self::Call { login, .. }
            | Self::Fix { login, .. }
            | Self::Reshard { login, .. }
            | Self::Rebalance { login, .. }
            | Self::AddNode { login, .. }
            | Self::DelNode { login, .. }
            | Self::SetTimeout { login, .. } => login,
            Self::Import(arguments) => &arguments.login,
            Self::Backup(arguments) => &arguments.login,
        }
    }
}

/// How a change is made.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Show what would be done, and do nothing
    #[arg(long, alias = "cluster-simulate", alias = "simulate")]
    pub(crate) dry_run: bool,
    /// How many seconds the nodes may take to agree
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) wait_timeout: u64,
}

/// What is copied where.
#[derive(Debug, Args)]
pub(crate) struct BackupArguments {
    /// One of the cluster's nodes: HOST:PORT
    #[arg(value_name = "HOST:PORT")]
    pub(crate) node: String,
    /// The folder: an empty one, or one that is made
    #[arg(value_name = "DIRECTORY")]
    pub(crate) directory: PathBuf,
    /// Take the data from primaries, which fork for it [default: from replicas that are in sync]
    #[arg(long)]
    pub(crate) from_primaries: bool,
    /// Take what there is where slots have no owner that answers
    #[arg(long)]
    pub(crate) allow_missing: bool,
    #[command(flatten)]
    pub(crate) login: Login,
}

/// Which keys are brought where.
#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    /// One of the cluster's nodes: HOST:PORT
    #[arg(value_name = "HOST:PORT")]
    pub(crate) node: String,
    #[command(flatten)]
    pub(crate) from: FromArguments,
    /// The keys stay at their source as well
    #[arg(long, alias = "cluster-copy")]
    pub(crate) copy: bool,
    #[command(flatten)]
    pub(crate) moves: MoveArguments,
    #[command(flatten)]
    pub(crate) login: Login,
}

/// Where keys come from. There is no option for the password itself.
#[derive(Debug, Args)]
pub(crate) struct FromArguments {
    /// The server: HOST:PORT
    #[arg(long, alias = "cluster-from", value_name = "HOST:PORT")]
    pub(crate) from: String,
    /// The user there
    #[arg(long, alias = "cluster-from-user", value_name = "NAME")]
    pub(crate) from_user: Option<String>,
    /// A file whose first line is the password there
    #[arg(long, value_name = "FILE", env = "SHARDYARD_FROM_PASSWORD_FILE")]
    pub(crate) from_password_file: Option<PathBuf>,
    /// Ask for the password there
    #[arg(
        long,
        alias = "cluster-from-askpass",
        conflicts_with = "from_password_file"
    )]
    pub(crate) from_askpass: bool,
    /// As redis-cli has it; refused, with the way that keeps the password to yourself
    #[arg(
        long,
        alias = "cluster-from-pass",
        value_name = "PASSWORD",
        hide = true
    )]
    pub(crate) from_pass: Option<String>,
}

/// How keys are moved.
#[derive(Debug, Args)]
pub(crate) struct MoveArguments {
    /// The milliseconds that one MIGRATE may take
    #[arg(long, alias = "cluster-timeout", value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub(crate) timeout: Option<u64>,
    /// The most keys of one MIGRATE; they are cut by bytes first
    #[arg(long, alias = "cluster-pipeline", value_name = "KEYS", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) pipeline: Option<u32>,
    /// Overwrite a key that the target has already
    #[arg(long, alias = "cluster-replace")]
    pub(crate) replace: bool,
    /// The latency that clients may see meanwhile, as 5ms; 0 for no such limit [default: 10ms]
    #[arg(long, value_name = "TIME")]
    pub(crate) max_latency: Option<String>,
    /// The most keys a second
    #[arg(long, value_name = "KEYS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_rate: Option<u32>,
    #[command(flatten)]
    pub(crate) run: RunArguments,
}

/// How to log in to a cluster that is not an instance. There is no option for the password itself:
/// every user of a host can read the arguments of every process.
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// The user
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// A file whose first line is the password; REDISCLI_AUTH holds one too
    #[arg(long, value_name = "FILE", env = "SHARDYARD_PASSWORD_FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Speak TLS
    #[arg(long)]
    pub(crate) tls: bool,
    /// The certificates of the authorities that are trusted [default: this system's]
    #[arg(long, value_name = "FILE", requires = "tls")]
    pub(crate) cacert: Option<PathBuf>,
    /// Our certificate, where the servers ask for one
    #[arg(long, value_name = "FILE", requires_all = ["tls", "key"])]
    pub(crate) cert: Option<PathBuf>,
    /// The key of our certificate
    #[arg(long, value_name = "FILE", requires_all = ["tls", "cert"])]
    pub(crate) key: Option<PathBuf>,
    /// Take any certificate, so that whoever stands between could read along
    #[arg(long, requires = "tls", conflicts_with = "cacert")]
    pub(crate) insecure: bool,
}
