"""Where code runs: event loops, threads, and the notebook cell that is being executed. Below all other layers."""
