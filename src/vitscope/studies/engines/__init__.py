"""Engines: what computes shards. ``local`` this process · ``ray`` workers of Ray · ``ray_task`` what one does."""
