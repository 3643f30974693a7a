"""One lab as a whole: plan, bring-up, state on disk, supervisor, teardown."""
