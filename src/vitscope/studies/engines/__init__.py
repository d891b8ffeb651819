"""Engines: what computes shards. ``in_process`` this process · ``ray`` workers of Ray · ``ray_cluster`` which Ray ·
``ray_task`` what a worker does · ``overdue`` what takes too long."""
