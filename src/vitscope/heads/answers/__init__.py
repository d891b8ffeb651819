"""What the model says of each picture, and which row of attention it says it from: both read off one plain trace."""
