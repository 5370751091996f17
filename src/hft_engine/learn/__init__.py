"""Learning: training sets from recorded data, labels, honest splits, training and its report. Extra ``learn``."""
