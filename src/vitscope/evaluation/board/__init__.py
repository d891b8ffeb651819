"""The leaderboard: records of scores, their statistics and comparison, merging, and its form on disk."""
