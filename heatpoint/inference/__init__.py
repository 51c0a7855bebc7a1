"""From pictures to results: running, finishing, suppressing, drawing."""
