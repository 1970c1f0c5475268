# Two commands do all the set-up on a fresh Debian or Ubuntu with Rust:
#   make up      a running cluster          make test     everything that is tested
.PHONY: up serve test build console images bench soak clean

NAME ?= demo
SCHEDULES ?= 100000
SERVERS ?= $(CURDIR)/target/servers
export SHARDYARD_SERVERS ?= $(SERVERS)

build:
	cargo build --release --quiet --bin shardyard

up:
	@tools/install redis-server
	@$(MAKE) --no-print-directory build
	@target/release/shardyard up redis-cluster --name $(NAME) --engine process --yes

# The API and the web console, built into the program.
console:
	@console/build

serve: console build
	@target/release/shardyard serve

# The image `shardyard`, for jobs of templates on Docker.
images:
	@tools/install dockerd
	@tools/make-image

test:
	@tools/test

# Us and the peer in one run, as ratios. Takes minutes, and the machine for itself.
bench:
	@tools/install redis-server
	@tests/fetch-servers $(SERVERS)
	cargo build --release --quiet --bin shardyard
	cargo bench --quiet -p benches $(BENCH)

# Random schedules of everything that can go wrong, for as long as you like.
soak:
	SHARDYARD_SIM_SCHEDULES=$(SCHEDULES) SHARDYARD_SIM_ELASTIC=$(SCHEDULES) cargo test --quiet -p tests --test sim random_schedules -- --nocapture

clean:
	cargo clean
