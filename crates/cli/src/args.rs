//! What the user typed, and nothing more: names of verbs and options, checked for form only.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod trib;

pub(crate) use trib::{
    BackupArguments, FromArguments, ImportArguments, Login, MoveArguments, RunArguments, TribVerb,
};

/// Delivers a sharded Redis or Valkey cluster with one command, and keeps it as it was asked for
#[derive(Debug, Parser)]
#[command(
    name = "shardyard",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = EXAMPLES
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) general: General,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const EXAMPLES: &str = "Examples:
  shardyard up                                     deliver redis-cluster: 3 shards, 1 replica each
  shardyard up --name orders --shards 5 --memory 512MiB --yes
  shardyard status orders --watch
  shardyard cli orders set greeting hello

Exit codes: 0 done · 1 failed · 2 usage, or a question that nobody was there to answer ·
3 a check found something, or the instance is not healthy · 4 not there in time, run it again ·
5 engine or node unreachable · 6 refused as unsafe, or the answer was no ·
7 another operator is at work · 130 interrupted";

/// Options that every verb takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct General {
    /// How the result is written to stdout
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value = "text",
        env = "SHARDYARD_OUTPUT"
    )]
    pub(crate) output: Output,
    /// Answer yes to the question whether a plan is to be carried out
    #[arg(short, long, alias = "cluster-yes", global = true)]
    pub(crate) yes: bool,
    /// The folder that holds all state [default: a folder of yours, by the XDG rules]
    #[arg(long, global = true, value_name = "FOLDER", env = "SHARDYARD_HOME")]
    pub(crate) home: Option<PathBuf>,
    /// Folders with server binaries of other versions, searched before PATH, with : between them
    #[arg(long, global = true, value_name = "FOLDERS", env = "SHARDYARD_SERVERS")]
    pub(crate) servers: Option<std::ffi::OsString>,
    /// Have a server run the command: http://127.0.0.1:7470; log in once by `shardyard login`, or
    /// put a token into SHARDYARD_TOKEN
    #[arg(long, global = true, value_name = "URL", env = "SHARDYARD_SERVER")]
    pub(crate) server: Option<String>,
    /// The certificates of the authorities that are trusted with --server https://… [default: this
    /// system's]
    #[arg(long, global = true, value_name = "FILE", env = "SHARDYARD_CA")]
    pub(crate) ca: Option<PathBuf>,
    /// A file whose first line is the token for --server; nobody else may be able to read it
    #[arg(long, global = true, value_name = "FILE", env = "SHARDYARD_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

/// How a result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// For programs: documented, and stable within shardyard/v1
    Json,
}

/// Where the server listens.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// The address; one of this machine alone where TLS is not spoken. Port 0 takes any
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7470")]
    pub(crate) listen: std::net::SocketAddr,
    /// A further name by which it may be asked, as behind a proxy with TLS
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,
    /// Speak TLS with this certificate, followed by those between it and its authority, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
}

/// Who logs in.
#[derive(Debug, Args)]
pub(crate) struct LoginArguments {
    /// The user; the password is asked for, or is the first line of stdin [default: whoever has
    /// the one-time token that the server's first start printed]
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Deliver an instance, or make it match again
    Up(UpArguments),
    /// Stop an instance; its data stays unless told otherwise
    Down(DownArguments),
    /// Add or remove shards, replicas or workloads, and move slots and keys as needed
    Scale(ScaleArguments),
    /// Give each shard its share of slots
    Rebalance(RebalanceArguments),
    /// Hand a primary's part over to a replica, without losing a write
    Failover(FailoverArguments),
    /// Have a move of slots stand still, once the slots that are open have arrived
    Pause(NameArguments),
    /// Have it go on
    Resume(NameArguments),
    /// End a change of size where it is: what has moved stays where it is
    Cancel(CancelArguments),
    /// List the instances
    Ls,
    /// Show how an instance is: shards, slots, roles, memory, lag, findings
    Status(StatusArguments),
    /// Show the logs of an instance's workloads
    Logs(LogsArguments),
    /// Run a command where a workload runs
    Exec(ExecArguments),
    /// Open redis-cli on an instance, logged in, or run one command in it
    Cli(CliArguments),
    /// What redis-trib does, on any cluster, ours or not
    #[command(subcommand)]
    Trib(TribVerb),
    /// Templates: what can be delivered
    #[command(subcommand)]
    Template(TemplateVerb),
    /// Check this host, with the fix for each finding
    Doctor,
    /// Serve the API and the console, and keep every instance as it was asked for
    Serve(ServeArguments),
    /// Log in to the server that --server names, and keep a token for it
    Login(LoginArguments),
    /// Print what your shell needs to complete commands
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Mind the processes of one instance
    #[command(hide = true)]
    Supervise {
        /// The instance
        name: String,
    },
    /// The entrypoint of a template's redis-trib job
    #[command(hide = true)]
    RedisTrib {
        /// The rendered file, read as assignments
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct UpArguments {
    /// A built-in template's name, or the path of a template's folder [default: redis-cluster, or
    /// the template of the instance there is]
    pub(crate) template: Option<String>,
    /// The instance's name [default: the template's]
    #[arg(short, long)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) variables: VariableArguments,
    /// The number of shards (SHARDS)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) shards: Option<String>,
    /// The number of replicas of each shard (REPLICAS_NUM)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) replicas: Option<String>,
    /// The memory of each node (MEMORY): 256MiB
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true)]
    pub(crate) memory: Option<String>,
    /// The platform: docker, process, or auto, which is docker where it answers and has the image
    #[arg(
        long,
        value_name = "ENGINE",
        default_value = "auto",
        env = "SHARDYARD_ENGINE"
    )]
    pub(crate) engine: String,
    /// Which addresses clients are told: network (those of the containers), host (one of this host,
    /// for clients elsewhere), or host=ADDRESS [default: network, or what the instance has]
    #[arg(long, value_name = "HOW")]
    pub(crate) expose: Option<String>,
    /// What is done about images that Docker does not have, or that may be old
    #[arg(long, value_enum, default_value = "missing")]
    pub(crate) pull: Pull,
    /// Let a template's workloads have the folders of the host that it names
    #[arg(long)]
    pub(crate) allow_host_access: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How many seconds it may take to come up
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) wait_timeout: u64,
}

/// What is done about images that Docker does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pull {
    /// Nothing: what is missing stays missing
    Never,
    /// Those that are missing are pulled
    Missing,
    /// All are pulled, once, before anything is made
    Always,
}

#[derive(Debug, Args)]
pub(crate) struct VariableArguments {
    /// Set a variable of the template; not for secrets, which others could read here
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
    /// Read variables from a YAML file; - is stdin, and the place for secrets
    #[arg(short = 'f', long = "values", value_name = "FILE")]
    pub(crate) values: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ScaleArguments {
    /// The instance
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) variables: VariableArguments,
    /// The number of shards (SHARDS)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) shards: Option<String>,
    /// The number of replicas of each shard (REPLICAS_NUM)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) replicas: Option<String>,
    #[command(flatten)]
    pub(crate) change: ChangeArguments,
}

#[derive(Debug, Args)]
pub(crate) struct RebalanceArguments {
    /// The instance
    pub(crate) name: String,
    /// By what a slot is weighed
    #[arg(long, value_enum, default_value = "slots")]
    pub(crate) by: By,
    /// The weight of a node's shard against the others, 1 where nothing is said; 0 empties it
    #[arg(long, value_name = "NODE=WEIGHT")]
    pub(crate) weight: Vec<String>,
    /// Give this slot a shard of its own; the shard's other slots go to the others
    #[arg(long, value_name = "SLOT", conflicts_with_all = ["by", "weight", "threshold"], value_parser = clap::value_parser!(u16).range(0..=16_383))]
    pub(crate) isolate: Option<u16>,
    /// A node of that shard [default: of the one with the fewest slots]
    #[arg(long, value_name = "NODE", requires = "isolate")]
    pub(crate) onto: Option<String>,
    /// Leave everything as it is while each shard is within so many percent of its share
    #[arg(long, value_name = "PERCENT", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) threshold: u32,
    #[command(flatten)]
    pub(crate) change: ChangeArguments,
}

#[derive(Debug, Args)]
pub(crate) struct FailoverArguments {
    /// The instance
    pub(crate) name: String,
    /// The node: a replica that is to take over, or a primary that is to give way to its best
    /// replica; redis-4, or HOST:PORT
    #[arg(required_unless_present = "spread")]
    pub(crate) node: Option<String>,
    /// Bring the primaries back to where they were planned
    #[arg(long, conflicts_with = "node")]
    pub(crate) spread: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How many seconds the cluster may take to be ready afterwards
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) wait_timeout: u64,
}

#[derive(Debug, Args)]
pub(crate) struct NameArguments {
    /// The instance
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct CancelArguments {
    /// The instance
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) change: ChangeArguments,
}

/// By what a slot is weighed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// Each slot counts as much
    Slots,
    /// The keys in it
    Keys,
    /// The memory of its keys, from a sample where the server does not count it
    Memory,
    /// The time that commands on it took, where the server counts it
    Load,
}

/// How a change of shape is made.
#[derive(Debug, Args)]
pub(crate) struct ChangeArguments {
    /// The latency that clients may see while slots move, as 5ms; 0 for no such limit [default:
    /// 10ms]
    #[arg(long, value_name = "TIME")]
    pub(crate) max_latency: Option<String>,
    /// The most keys a second
    #[arg(long, value_name = "KEYS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_rate: Option<u32>,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How many seconds workloads may take to come up, and the cluster to be ready
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) wait_timeout: u64,
}

#[derive(Debug, Args)]
pub(crate) struct DownArguments {
    /// The instance
    pub(crate) name: String,
    /// Delete its data too, for good
    #[arg(long)]
    pub(crate) delete_data: bool,
    /// The instance's name once more, beside --yes, where data is deleted without a question
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// The instance
    pub(crate) name: String,
    /// Show it again and again
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// The pause between two looks, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) interval: u64,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArguments {
    /// The instance
    pub(crate) name: String,
    /// A workload (redis-1) or a service (redis) [default: all]
    pub(crate) of: Option<String>,
    /// Go on with new lines
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// How many of the last lines first
    #[arg(long, value_name = "LINES", default_value_t = 100)]
    pub(crate) tail: usize,
}

#[derive(Debug, Args)]
pub(crate) struct ExecArguments {
    /// The instance
    pub(crate) name: String,
    /// The workload: redis-1
    pub(crate) workload: String,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CliArguments {
    /// The instance
    pub(crate) name: String,
    /// A command for the cluster [default: an interactive session]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TemplateVerb {
    /// List the built-in templates
    Ls,
    /// Show a template: its variables and services
    Show {
        /// A built-in template's name, or the path of a template's folder
        template: String,
    },
    /// Write a commented template to begin with
    New {
        /// The folder to make; its last part is the template's name
        folder: PathBuf,
    },
    /// Report all faults of a template
    Lint {
        /// A built-in template's name, or the path of a template's folder
        template: String,
    },
    /// Print each config file as it would be, secrets masked, without starting anything
    Render {
        /// A built-in template's name, or the path of a template's folder
        template: String,
        #[command(flatten)]
        variables: VariableArguments,
    },
}
