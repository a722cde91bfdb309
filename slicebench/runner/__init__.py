"""From an experiment to results: the one orchestrator."""
