"""Published experiments as declarations: networks, data sets, seeds, protocol and published figures in one file."""
