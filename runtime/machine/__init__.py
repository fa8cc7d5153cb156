"""The machine: NPUs and their names, versions of CANN, processes, processors."""
