"""The metrics, one file per metric or small family; `vitscope.evaluation.metric` lists and loads them."""
