"""The figures of spec N. Each module measures one number and prints it beside its target: `make bench`."""
