"""The paper's formulas on plain arrays: labels, heatmaps, concepts, correlation. Without torch."""
