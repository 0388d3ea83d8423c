"""Sets nbval's limits for lessons: a cell that runs for two minutes hangs; nbval itself would wait for 33."""

NBVAL_DEFAULT, CELL_SECONDS = 2000, 120


def pytest_configure(config):
    """Lower the time limit, unless the command line has set one; without nbval there is none to lower."""
    if getattr(config.option, "nbval_cell_timeout", None) == NBVAL_DEFAULT:
        config.option.nbval_cell_timeout = CELL_SECONDS
