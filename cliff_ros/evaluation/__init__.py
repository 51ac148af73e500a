"""How right the pipeline is: data sets with ground truth, measures, tables."""
