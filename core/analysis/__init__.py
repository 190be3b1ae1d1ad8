"""What the arrays of a scan say about many neurons: firmness of labels, statistics, controls, published neurons."""
