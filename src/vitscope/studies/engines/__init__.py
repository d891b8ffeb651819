"""Engines: what computes shards. ``in_process`` this process · ``ray`` workers of Ray · ``ray_task`` what one does."""
