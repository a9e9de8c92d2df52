"""The record of events that the norm asks for (NTA 7516, 6.4.2), without message content."""
