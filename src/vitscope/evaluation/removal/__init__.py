"""Taking parts of a picture away, as tokens or as pixels, and the curves of what the model then says."""
