"""Results about many neurons from the arrays of a scan: firmness, clearness, statistics, controls, published ones."""
