"""The labels by which nodes are told apart; `ray start --labels` takes them, cluster files too."""

SITE_LABEL = "sigdca.io/site"  # private, public or edge
TARGET_LABEL = "sigdca.io/target"  # a board's target, or the one that a server emulates
EMULATED_LABEL = "sigdca.io/emulated"  # true: it is no board
TEMPORARY_LABEL = "sigdca.io/temporary"  # by its run, which began and ends it: the mark
PRICE_LABEL = "sigdca.io/price"  # what a CPU for an hour costs there
SERVERS = {SITE_LABEL: "!edge"}  # what trains and tests: every node that is not a board
